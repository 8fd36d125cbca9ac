"""Bodies that are packed or spelled in another way than a stock server's."""

import gzip
import json
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.databases import Database
from tests.support.webhook_posts import Receiver, list_stored
from web.receiver import body_coding
from web.receiver.body_coding import BodyCoding, BodyTooLarge, Unpackable

LIMIT = 64 * 1024 * 1024
JSON = '{"event":"onmessage","body":"Olá, ação"}'
UTF8, LATIN = JSON.encode(), JSON.encode("latin-1")
GZIP = [(b"content-encoding", b"gzip")]


def content_type(charset: str) -> tuple[bytes, bytes]:
    return (b"content-type", f"application/json; charset={charset}".encode())


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ([], UTF8),
        ([(b"content-encoding", b"identity")], UTF8),
        (GZIP, gzip.compress(UTF8, mtime=0)),
        ([(b"content-encoding", b" X-GZIP ")], gzip.compress(UTF8, mtime=0)),
        ([(b"content-encoding", b"deflate")], zlib.compress(UTF8)),
        (GZIP, gzip.compress(UTF8[:10], mtime=0) + gzip.compress(UTF8[10:], mtime=0)),
        (GZIP, UTF8),  # a proxy unpacked it and left the header
        ([], b"\xef\xbb\xbf" + UTF8),
        (GZIP, gzip.compress(b"\xef\xbb\xbf" + UTF8, mtime=0)),
        ([content_type("utf-8")], UTF8),
        ([content_type("iso-8859-1")], LATIN),
        ([content_type('"ISO-8859-1"')], LATIN),
        ([content_type("windows-1252")], LATIN),
        ([content_type("utf-16")], JSON.encode("utf-16")),
        ([content_type("iso-8859-1")], UTF8),  # JSON is UTF-8, whatever is stated
        ([*GZIP, content_type("latin1")], gzip.compress(LATIN, mtime=0)),
    ],
)
def test_it_reads_what_the_headers_tell(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    assert body_coding.decode_body(body, body_coding.read_coding(headers), LIMIT) == UTF8


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (GZIP, gzip.compress(UTF8, mtime=0)[:-9]),
        (GZIP, gzip.compress(UTF8, mtime=0) + b"more"),
        (GZIP, gzip.compress(b"", mtime=0) * (body_coding.MAX_PARTS + 1)),
        ([(b"content-encoding", b"br")], b"\x0b\x02\x80{}\x03"),
        ([], LATIN),
        ([content_type("klingon")], LATIN),
        ([content_type("utf-16")], b"\xff"),
    ],
)
def test_it_leaves_as_it_came_what_it_cannot_read(headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    assert body_coding.decode_body(body, body_coding.read_coding(headers), LIMIT) == body


def test_it_looks_no_further_at_plain_bodies() -> None:
    assert body_coding.read_coding([(b"content-type", b"application/json"), (b"host", b"x")]) is body_coding.PLAIN
    assert body_coding.read_coding([content_type("utf-8")]) is body_coding.PLAIN


def test_it_refuses_a_bomb_without_the_memory_that_it_asks_for() -> None:
    bomb = gzip.compress(bytes(1024 * 1024), mtime=0) * 60 + gzip.compress(bytes(5 * 1024 * 1024), mtime=0)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            body_coding.decode_body(bomb, BodyCoding(packed=True), LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=300_000), st.integers(0, 9))
def test_it_unpacks_what_was_packed_up_to_its_limit(content: bytes, level: int) -> None:
    packed = gzip.compress(content, level, mtime=0)
    assert body_coding.unpack(packed, len(content)) == content
    if content:
        with pytest.raises(BodyTooLarge):
            body_coding.unpack(packed, len(content) - 1)


@given(st.binary(max_size=2000))
def test_it_takes_no_garbage_for_something_packed(garbage: bytes) -> None:
    try:
        body_coding.unpack(garbage, LIMIT)
    except Unpackable:
        assert body_coding.decode_body(garbage, BodyCoding(packed=True), LIMIT) in (garbage, garbage[3:])


@pytest.mark.parametrize(
    ("headers", "body", "status", "verdict"),
    [
        ({"content-encoding": "gzip"}, gzip.compress(UTF8, mtime=0), 200, "received"),
        ({}, b"\xef\xbb\xbf" + UTF8, 200, "received"),
        ({"content-type": "application/json; charset=iso-8859-1"}, LATIN, 200, "received"),
        ({}, LATIN, 400, "invalid"),
        ({"content-encoding": "gzip"}, gzip.compress(UTF8, mtime=0)[:-9], 400, "invalid"),
    ],
)
def test_it_stores_what_it_read(
    receiver: Receiver,
    session: str,
    database: Database,
    headers: dict[str, str],
    body: bytes,
    status: int,
    verdict: str,
) -> None:
    assert receiver.post(body, session, headers=headers).status_code == status
    ((_session, _kind, stored),) = list_stored(database)
    assert stored == verdict
    if verdict == "received":
        read: Any = json.loads(database.one("select body from events"))
        assert read["body"] == "Olá, ação"


def test_it_answers_a_bomb_and_goes_on(receiver: Receiver, session: str, database: Database) -> None:
    bomb = gzip.compress(bytes(LIMIT + 1), mtime=0)
    assert receiver.post(bomb, session, headers={"content-encoding": "gzip"}).status_code == 413
    assert receiver.post(UTF8, session).status_code == 200
    assert [verdict for *_, verdict in list_stored(database)] == ["received"]
