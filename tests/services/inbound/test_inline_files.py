"""A webhook's file goes into the media store before the event is stored, or stays in the event: it is never lost."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from services import settings
from services.db.actor import Actor
from services.inbound import inline_files
from services.platform import media_store
from tests.support.databases import Database
from tests.support.process_state import forget_process_state

JPEG = b"\xff\xd8\xff\xe0 a picture " + bytes(range(256)) * 8


def body(content: bytes = JPEG, **more: Any) -> bytes:
    encoded = base64.b64encode(content).decode()
    payload = {"event": "onmessage", "id": "x", "type": "image", "mimetype": "image/jpeg", "body": encoded, **more}
    return json.dumps(payload).encode()


def name(user: Actor) -> str:
    return f"user_{user.user_id}"


def test_it_leaves_a_reference_in_the_files_place(user: Actor) -> None:
    lighter = json.loads(inline_files.extract_file(name(user), body(caption="a foto \ud83d")))
    sha256 = hashlib.sha256(JPEG).digest()
    assert lighter["body"] == {"sha256": sha256.hex(), "size": len(JPEG)}
    assert (lighter["caption"], lighter["id"]) == ("a foto \ud83d", "x")
    assert media_store.read(user, sha256) == JPEG
    assert media_store.get(user, sha256).mimetype == "image/jpeg"


@pytest.mark.parametrize(
    "left",
    [
        body(body="not base64 at all!"),
        body(body=""),
        body(type="chat", mimetype=None),
        body(size=len(JPEG) * 10),  # WhatsApp Web's small preview of a large picture
        body(type="video", mimetype="video/mp4"),  # … or of a film
        body(type=["image"], mimetype=None),
        body(type="product"),  # … or of something for sale
        b"no json",
        b"[1]",
    ],
)
def test_it_leaves_alone_what_is_no_file(user: Actor, database: Database, left: bytes) -> None:
    assert inline_files.extract_file(name(user), left) is left
    assert database.one("select count(*) from media") == 0


def test_it_throws_the_file_of_an_acknowledgement_away(user: Actor, database: Database) -> None:
    came = json.dumps({**json.loads(body(event="onack", ack=1)), "content": "aGk="}).encode()
    assert inline_files.may_hold_file(came)
    left = json.loads(inline_files.extract_file(name(user), came))
    assert (left["event"], left["ack"], left["mimetype"]) == ("onack", 1, "image/jpeg")
    assert (left["body"], left["content"]) == ({"size": len(base64.b64encode(JPEG)) * 3 // 4}, {"size": 3})
    assert database.one("select count(*) from media") == 0
    small = body(event="onack", body="aGk=")
    assert len(small) < inline_files.MIN_BODY_SIZE
    assert inline_files.may_hold_file(small)
    text = b'{"event": "onack", "ack": 1, "type": "chat", "body": "' + b"o" * 4000 + b'"}'
    assert inline_files.extract_file(name(user), text) is text


@pytest.mark.parametrize("session", [None, "user_nobody", "user_00000000-0000-4000-8000-000000000000"])
def test_it_leaves_a_file_where_it_is_when_nobody_owns_it(database: Database, session: str | None) -> None:
    whole = body()
    assert inline_files.extract_file(session, whole) is whole


def test_it_leaves_a_file_where_it_is_when_the_store_cannot_be_written(
    user: Actor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "store"
    in_the_way.write_text("no folder")
    monkeypatch.setenv("MEDIA_URL", f"file://{in_the_way}")
    forget_process_state()
    assert settings.get().storage.media_url
    whole = body()
    assert inline_files.extract_file(name(user), whole) is whole


def test_it_looks_only_at_what_may_hold_a_file() -> None:
    assert not inline_files.may_hold_file(b'{"mimetype":"image/jpeg"}')
    assert not inline_files.may_hold_file(b"x" * 10_000)
    assert inline_files.may_hold_file(body())


@pytest.mark.parametrize(
    ("stated", "content", "expected"),
    [
        ("audio/ogg; codecs=opus", b"OggS", "audio/ogg; codecs=opus"),
        ("text/html\r\nx: y", JPEG, "image/jpeg"),
        (None, b"\x00", "application/octet-stream"),
    ],
)
def test_it_calls_a_file_what_whatsapp_or_its_bytes_call_it(stated: object, content: bytes, expected: str) -> None:
    assert inline_files.detect_mimetype(stated, content) == expected
