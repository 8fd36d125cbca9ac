"""The webhook's door over real HTTP, and the inbox behind it."""

import asyncio
import base64
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services import settings
from services.db.actor import Actor
from services.fleet import session as fleet_session
from services.fleet.session import Status
from services.fleet.webhook_secrets import hash_secret
from services.inbound import event_handlers, event_processing, event_store, event_writer
from tests.support.databases import Database
from tests.support.processes import SHARED_TOKEN
from tests.support.sessions import connected
from tests.support.waiting import wait_for
from tests.support.webhook_posts import (
    WEBHOOK_PATH,
    WEBHOOK_SECRET,
    Receiver,
    count_refusals,
    list_stored,
    make_message,
)
from web.receiver.webhook import BODY_LIMIT


@pytest.mark.parametrize(
    "body", [b'{"event":"onmessage"}', b"\xff\xfe" * 1000, b"\x00{"], ids=["good", "no text", "NUL"]
)
def test_it_knows_that_nothing_waits_once_everything_is_stored(database: Database, body: bytes) -> None:
    async def waiting() -> int:
        into = event_store.Inbox(settings.get().database.system_url.get_secret_value())
        await into.start()
        for _ in range(3):
            await into.receive(event_writer.Delivery(None, True, body))
        await into.stop()
        return into.waiting_bytes

    assert asyncio.run(waiting()) == 0


# --- who may come in ----------------------------------------------------------------------------------------------


def test_it_takes_a_session_by_its_own_secret(receiver: Receiver, session: str, database: Database) -> None:
    assert receiver.post(make_message(), session).status_code == 200
    assert list_stored(database) == [(session, "onmessage", "received")]


@pytest.mark.parametrize("own_address", [True, False])
def test_it_takes_the_shared_token_at_both_addresses(
    receiver: Receiver, session: str, database: Database, own_address: bool
) -> None:
    body = make_message(session=session)
    answer = receiver.post(body, session if own_address else None, None, {"x-verify": SHARED_TOKEN})
    assert answer.status_code == 200
    assert list_stored(database) == [(session, "onmessage", "received")]


def test_it_trusts_the_session_that_the_url_proves_and_not_the_bodys(
    receiver: Receiver, session: str, database: Database
) -> None:
    assert receiver.post(make_message(session="user_of_somebody_else"), session).status_code == 200
    assert list_stored(database) == [(session, "onmessage", "received")]


BASIC_GARBAGE = [
    "Basic",
    "Basic !!!",
    "Basic " + base64.b64encode(b"\xff\xfe").decode(),
    "Bearer x",
    "Basic " + "A" * 999,
]


# What opens nothing: a secret by Basic authentication, if any, and other headers.
WRONG: list[tuple[str | None, dict[str, str]]] = [
    ("wrong", {}),
    ("", {}),
    (None, {}),
    (None, {"x-verify": "wrong"}),
    (None, {"x-verify": ""}),
    *((None, {"authorization": garbage}) for garbage in BASIC_GARBAGE),
]


@pytest.mark.parametrize(("secret", "headers"), WRONG)
def test_it_refuses_a_wrong_secret_and_keeps_nothing_of_the_body(
    receiver: Receiver, session: str, database: Database, secret: str | None, headers: dict[str, str]
) -> None:
    assert receiver.post(make_message(), session, secret, headers).status_code == 401
    assert list_stored(database) == []


def test_it_notes_each_refusal_without_its_body(receiver: Receiver, session: str, database: Database) -> None:
    """All are waited for together: they are written once a second."""
    for secret, headers in WRONG:
        assert receiver.post(make_message(), session, secret, headers).status_code == 401
    wait_for(lambda: count_refusals(database) == len(WRONG))
    assert "Olá" not in str(database.execute("select * from security_events"))


def test_it_refuses_another_sessions_secret(
    receiver: Receiver, session: str, database: Database, new_actor: Callable[..., Actor]
) -> None:
    other = new_actor()
    connected(database, other)
    database.execute(
        "update whatsapp_sessions set webhook_secret_hash = %s where user_id = %s", hash_secret("x"), other.user_id
    )
    assert receiver.post(make_message(), f"user_{other.user_id}").status_code == 401
    assert receiver.post(make_message(), f"user_{uuid4()}").status_code == 401
    assert receiver.post(make_message(), "user_../../x").status_code == 401
    assert receiver.post(make_message(), None).status_code == 401, "a session's secret opens only its own address"


def test_it_counts_equal_refusals_in_one_row(receiver: Receiver, session: str, database: Database) -> None:
    for _attempt in range(20):
        receiver.post(make_message(), session, "wrong")
    wait_for(lambda: count_refusals(database) == 20)
    assert database.one("select count(*) from security_events") < 20


def test_it_takes_a_fresh_secret_at_once_and_the_older_one_until_the_newer_is_used(
    receiver: Receiver, session: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_store, "SECRET_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(event_store, "SECRET_CACHE_SECONDS", 0.0)
    database.execute("update whatsapp_sessions set webhook_secret_used_at = now()")
    assert receiver.post(make_message(1), session).status_code == 200
    database.execute("update whatsapp_sessions set webhook_secret_hash = %s", hash_secret("fresh"))
    assert receiver.post(make_message(2), session, "fresh").status_code == 200
    assert receiver.post(make_message(3), session).status_code == 200
    assert database.execute("select current_secret from events order by id") == [(True,), (True,), (False,)]
    database.execute("update whatsapp_sessions set webhook_secret_used_at = now() - interval '2 minutes'")
    assert receiver.post(make_message(4), session).status_code == 401


def test_it_takes_nothing_but_post(receiver: Receiver, session: str) -> None:
    assert httpx.get(f"{receiver.url}{WEBHOOK_PATH}/{session}").status_code == 405


# --- what it keeps ------------------------------------------------------------------------------------------------


def test_it_marks_duplicates_and_loses_none(receiver: Receiver, session: str, database: Database) -> None:
    for _twice in range(2):
        assert receiver.post(make_message(1), session).status_code == 200
    receiver.post({"event": "onack", "id": {"_serialized": "true_x"}, "ack": 1}, session)
    receiver.post({"event": "onack", "id": {"_serialized": "true_x"}, "ack": 2}, session)
    verdicts = [verdict for _session, _kind, verdict in list_stored(database)]
    assert verdicts == ["received", "duplicate", "received", "received"]


def test_it_stores_what_comes_at_once_exactly_once(receiver: Receiver, session: str, database: Database) -> None:
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda number: receiver.post(make_message(number % 50), session).status_code, range(100))
        )
    assert set(answers) == {200}
    counts = dict(database.execute("select verdict, count(*) from events group by 1"))
    assert counts == {"received": 50, "duplicate": 50}


@pytest.mark.parametrize("body", [b"", b"no json", b"[1]", b'"x"', b"{", b"\xff\xfe", b'{"a": NaN', b"\x00", b"null"])
def test_it_says_no_to_garbage_and_keeps_it(receiver: Receiver, session: str, database: Database, body: bytes) -> None:
    assert receiver.post(body, session).status_code == 400
    assert list_stored(database) == [(session, "invalid", "invalid")]


@pytest.mark.parametrize(
    "body",
    [
        {"event": "no\x00body\x00knows", "id": "a\x00b"},
        {"event": "onmessage", "id": "\ud83d", "body": "half an emoji \ud83d"},
        {"event": ["odd"], "session": {"odd": 1}, "id": 12},
        {},
    ],
)
def test_it_keeps_what_nobody_knows(receiver: Receiver, session: str, database: Database, body: dict[str, Any]) -> None:
    assert receiver.post(body, session).status_code == 200
    assert json.loads(database.one("select body from events")) == body
    event_processing.process()
    assert database.one("select verdict from events") in ("unsupported", "handled")


def test_one_row_that_the_database_refuses_takes_no_other_with_it_and_is_kept(
    receiver: Receiver, session: str, database: Database
) -> None:
    database.execute("alter table events add constraint odd check (body not like '%REFUSE%')")
    with ThreadPoolExecutor(8) as pool:
        bodies = [make_message(number, text="REFUSE" if number == 3 else "ok") for number in range(8)]
        assert {answer.status_code for answer in pool.map(lambda body: receiver.post(body, session), bodies)} == {200}
    counts = dict(database.execute("select verdict, count(*) from events group by 1"))
    assert counts == {"received": 7, "invalid": 1}


def test_it_refuses_a_body_that_is_too_large_before_it_is_there(
    receiver: Receiver, session: str, database: Database
) -> None:
    credentials = base64.b64encode(f"wpp:{WEBHOOK_SECRET}".encode()).decode()
    head = f"POST {WEBHOOK_PATH}/{session} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n"
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=10) as sender:
        sender.sendall(f"{head}Content-Length: {BODY_LIMIT + 1}\r\n\r\n".encode())
        assert b" 413 " in sender.recv(4096)
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=30) as sender:
        sender.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        with pytest.raises(OSError, match=r"timed out|reset|Broken pipe"):
            for _megabyte in range(BODY_LIMIT // 0x100000 + 64):
                sender.sendall(chunk)
            assert b" 413 " in sender.recv(4096)
            raise ConnectionResetError("reset: the answer came before the end")
    assert list_stored(database) == []


def test_it_stores_nothing_of_a_body_that_was_cut_off(receiver: Receiver, session: str, database: Database) -> None:
    credentials = base64.b64encode(f"wpp:{WEBHOOK_SECRET}".encode()).decode()
    with socket.create_connection(("127.0.0.1", receiver.port)) as sender:
        head = f"POST {WEBHOOK_PATH}/{session} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {credentials}\r\n"
        sender.sendall(f'{head}Content-Length: 100\r\n\r\n{{"event"'.encode())
    assert receiver.post(make_message(), session).status_code == 200
    assert len(list_stored(database)) == 1


# --- what follows from it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "done"),
    [
        (
            {"event": "qrcode", "qrcode": "iVBORw0KGgo=", "urlcode": "2@abc"},
            {"event": "status-find", "status": "inChat"},
        ),
        ({"qrcode": "data:image/png;base64,iVBORw0KGgo=", "status": "QRCODE"}, {"status": "CONNECTED"}),
    ],
    ids=["server", "overview"],
)
def test_both_dialects_lead_from_the_qr_to_the_connection(
    receiver: Receiver, session: str, user: Actor, shown: dict[str, str], done: dict[str, str]
) -> None:
    receiver.post({**shown, "session": session}, None, None, {"x-verify": SHARED_TOKEN})
    event_processing.process()
    found = fleet_session.get(user)
    assert found is not None
    assert found.qr is not None
    receiver.post({**done, "session": session}, None, None, {"x-verify": SHARED_TOKEN})
    event_processing.process()
    found = fleet_session.get(user)
    assert found is not None
    assert (found.status, found.qr) == (Status.CONNECTED, None)


def test_a_backlog_never_shows_a_qr_that_is_stale_by_now(
    receiver: Receiver, session: str, user: Actor, database: Database
) -> None:
    database.execute("update whatsapp_sessions set pairing_started_at = now() - interval '10 minutes'")
    receiver.post({"event": "qrcode", "urlcode": "2@old"}, session)
    database.execute("update events set received_at = now() - interval '5 minutes'")
    event_processing.process()
    found = fleet_session.get(user)
    assert found is not None
    assert found.qr is None
    assert database.one("select verdict from events") == "handled"


def test_an_event_that_fails_is_tried_again_then_kept_with_its_place(
    receiver: Receiver, session: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.post({"event": "status-find", "status": "inChat", "text": "private words"}, session)
    receiver.post(make_message(1), session)
    database.execute("alter table whatsapp_sessions rename column connected_at to gone")
    for _attempt in range(event_handlers.MAX_ATTEMPTS):
        event_processing.process()
        database.execute("update events set retry_at = now() where retry_at is not null")
    ((failed, error), (other, _none)) = database.execute("select verdict, error from events order by id")
    assert (failed, other) == ("failed", "unsupported")
    assert "services/inbound/event_handlers.py" in error
    assert "in apply_report" in error
    assert "private words" not in error


def test_the_first_use_of_a_secret_is_noted(receiver: Receiver, session: str, database: Database) -> None:
    receiver.post({"event": "status-find", "status": "notLogged"}, session)
    event_processing.process()
    used = database.one("select webhook_secret_used_at from whatsapp_sessions")
    assert (datetime.now(UTC) - used).total_seconds() < 60
    assert settings.get().wppconnect.sandboxed


# --- files ------------------------------------------------------------------------------------------------------------


def test_it_keeps_a_files_bytes_out_of_the_event(receiver: Receiver, session: str, database: Database) -> None:
    content = b"\xff\xd8\xff\xe0" + bytes(3 * 1024 * 1024)
    sent = make_message(type="image", mimetype="image/jpeg") | {"body": base64.b64encode(content).decode()}
    sent["from"] = "5511999990000@c.us"
    assert receiver.post(sent, session).status_code == 200
    assert receiver.post(sent, session).status_code == 200
    ((size, verdict), (again, twice)) = database.execute("select length(body), verdict from events order by id")
    assert max(size, again) < 1024
    assert (verdict, twice) == ("received", "duplicate")
    assert database.execute("select size, mimetype from media") == [(len(content), "image/jpeg")]
    event_processing.process()
    assert database.one("select count(*) from messages join media on sha256 = media_sha256") == 1


def test_it_loses_no_event_whose_file_cannot_be_stored(receiver: Receiver, session: str, database: Database) -> None:
    database.execute("revoke insert on media from service_role")
    sent = make_message(type="image", mimetype="image/jpeg") | {"body": base64.b64encode(b"\xff\xd8" * 5000).decode()}
    assert receiver.post(sent, session).status_code == 200
    assert json.loads(database.one("select body from events")) == sent
