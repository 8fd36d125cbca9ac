"""What a webhook did not say is asked of the server: files that did not come along, phones behind a @lid, names."""

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.inbound import effects, enrichment, ingest
from services.platform import media_store
from services.wppconnect import event_parsing
from services.wppconnect.client import WppClient
from services.wppconnect.events import InboundMessage
from services.wppconnect.results import Chat
from tests.support.databases import Database
from tests.support.sandbox_control import SandboxControl

JPEG = b"\xff\xd8\xff\xe0 a picture" * 100
ENCODED = base64.b64encode(JPEG).decode()
ANA = "5511987654321"


@pytest.fixture
def session(sender: Actor, database: Database) -> UUID:
    found: UUID = database.one("select id from whatsapp_sessions where user_id = %s", sender.user_id)
    return found


def take(session: UUID, payload: dict[str, Any], event_id: int | None = None) -> None:
    message = event_parsing.parse_event({"event": "onmessage", **payload})
    assert isinstance(message, InboundMessage)
    with transaction(SYSTEM) as tx:
        taken = ingest.ingest_message(tx, session, message, datetime.now(UTC), event_id=event_id)
        if taken is not None:
            effects.apply_effects(tx, taken, [])


def test_it_fetches_a_file_that_did_not_come_along(
    session: UUID, user: Actor, control: SandboxControl, database: Database
) -> None:
    written = control.inbound(f"user_{user.user_id}", ANA, base64=f"data:image/jpeg;base64,{ENCODED}")
    take(session, {**written, "type": "image", "body": ""})
    assert enrichment.next_due_in() == 0
    assert enrichment.step()
    sha256 = hashlib.sha256(JPEG).digest()
    assert database.execute("select media_sha256, mimetype, fetch_at from messages") == [(sha256, "image/jpeg", None)]
    assert media_store.read(user, sha256) == JPEG
    assert (enrichment.step(), enrichment.next_due_in()) == (False, None)


def test_it_asks_a_few_times_and_then_leaves_it(session: UUID, user: Actor, database: Database) -> None:
    take(session, {"id": f"false_{ANA}@c.us_GONE", "from": f"{ANA}@c.us", "type": "image", "mimetype": "image/jpeg"})
    for _ in range(len(enrichment.RETRY_AFTER)):
        assert enrichment.fetch_files() == 1
        assert enrichment.fetch_files() == 0
        assert (enrichment.next_due_in() or 0) > 0
        database.execute("update messages set fetch_at = now()")
    assert enrichment.fetch_files() == 1
    assert enrichment.next_due_in() is None


def test_it_takes_a_file_out_of_an_event_that_had_to_keep_it(session: UUID, user: Actor, database: Database) -> None:
    name, wpp_id = f"user_{user.user_id}", f"false_{ANA}@c.us_KEPT"
    payload = {"event": "onmessage", "id": wpp_id, "from": f"{ANA}@c.us", "type": "image", "mimetype": "image/jpeg"}
    event_id = database.one(
        "insert into events (session, kind, verdict, request_id, body)"
        " values (%s, 'onmessage', 'handled', gen_random_uuid(), %s) returning id",
        name,
        json.dumps({**payload, "body": ENCODED}),
    )
    take(session, {**payload, "body": ENCODED}, event_id)
    assert enrichment.fetch_files() == 1
    sha256 = hashlib.sha256(JPEG).digest()
    assert database.one("select media_sha256 from messages") == sha256
    assert json.loads(database.one("select body from events"))["body"] == {"sha256": sha256.hex(), "size": len(JPEG)}


def test_it_learns_whose_lid_it_is_and_what_they_had_asked_for(
    session: UUID, user: Actor, control: SandboxControl, database: Database
) -> None:
    name = f"user_{user.user_id}"
    control.fault("lid_instead_of_phone", name)
    written = control.inbound(name, ANA, "SAIR")
    control.clear_faults()
    assert written["from"].endswith("@lid")
    take(session, {**written, "type": "chat", "body": "SAIR"})
    assert database.one("select phone from contacts") is None
    assert enrichment.identify_contacts() == 1
    assert database.execute("select phone, lid from contacts") == [(ANA, written["from"])]
    asked = database.execute("select phone, trigger_word from opt_outs where ended_at is null order by copied desc")
    assert asked == [(ANA, "SAIR"), (written["from"], "SAIR")]
    assert enrichment.next_due_in() is None


def test_it_learns_what_groups_are_called(
    session: UUID, user: Actor, control: SandboxControl, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"user_{user.user_id}"
    groups = ("120363000000000001@g.us", "120363000000000002@g.us")
    for address, called in zip(groups, ("Família", "Trabalho"), strict=True):
        take(session, control.inbound(name, ANA, "bom dia", group=address, group_name=called, name="Ana"))
    gone = "120363000000000003@g.us"
    take(session, {"id": f"false_{gone}_X_{ANA}@c.us", "from": gone, "chatId": gone, "author": f"{ANA}@c.us",
                   "isGroupMsg": True, "type": "chat", "body": "oi", "t": 1760000000})  # fmt: skip
    asked: list[str] = []
    list_chats = WppClient.list_chats

    def counted(client: WppClient, server_url: str, session_name: str) -> list[Chat]:
        asked.append(session_name)
        return list_chats(client, server_url, session_name)

    monkeypatch.setattr(WppClient, "list_chats", counted)
    assert enrichment.identify_contacts() == 3
    assert asked == [name], "once for all of a session's"
    assert database.execute(
        "select address, pushname, identify_at is null from contacts where is_group order by 1"
    ) == [
        (groups[0], "Família", True),
        (groups[1], "Trabalho", True),
        (gone, None, False),  # asked for again, and then left
    ]


def test_it_asks_nobody_for_the_phone_of_a_group_by_an_address_of_no_known_form(
    session: UUID, user: Actor, database: Database
) -> None:
    database.execute(
        "insert into contacts (session_id, user_id, address, is_group, identify_at)"
        " values (%s, %s, 'estranho@g.us', true, now())",
        session,
        user.user_id,
    )
    assert enrichment.identify_contacts() == 1
    assert database.one("select identifications from contacts") == 1
