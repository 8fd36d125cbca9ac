"""What an event proves of its session: only what WhatsApp itself must have brought does."""

import json
from typing import Any
from uuid import UUID

import pytest

from services.db.actor import Actor
from services.fleet.session import Proof
from services.inbound import event_processing
from services.wppconnect import event_keys
from tests.support.databases import Database
from tests.support.sessions import connected

ANA, ME = "5511933334444@c.us", "5511999990000@c.us"
INBOUND_MESSAGE: dict[str, Any] = {
    "id": f"false_{ANA}_3EB0AA",
    "from": ANA,
    "to": ME,
    "type": "chat",
    "body": "oi",
    "t": 1795832933,
}
OUTBOUND_MESSAGE: dict[str, Any] = {
    **INBOUND_MESSAGE,
    "id": f"true_{ANA}_3EB0BB",
    "from": ME,
    "to": ANA,
    "fromMe": True,
}
ON_MINE = {"id": f"false_{ANA}_3EB0CC", "msgId": f"true_{ANA}_3EB0BB", "reactionText": "❤️", "timestamp": 1795832933}


def arrive(database: Database, actor: Actor, payload: dict[str, Any]) -> None:
    """An event as the receiver stores it, handled as the worker does."""
    name = f"user_{actor.user_id}"
    key = event_keys.get_event_key(payload)
    dedupe = event_keys.get_dedupe_key(name, key)
    database.execute(
        "insert into events (session, kind, dedupe_key, request_id, body) values (%s, %s, %s, gen_random_uuid(), %s)",
        name,
        key.kind,
        UUID(bytes=dedupe) if dedupe else None,
        json.dumps(payload),
    )
    assert event_processing.process() == 1


@pytest.mark.parametrize(
    ("payload", "proof"),
    [
        ({"event": "onmessage", **INBOUND_MESSAGE}, Proof.MESSAGE),
        ({"event": "onack", **OUTBOUND_MESSAGE, "ack": 1}, Proof.ACK),
        ({"event": "onreactionmessage", **ON_MINE, "sender": ANA}, Proof.EVENT),
        ({"event": "incomingcall", "id": "39BB01", "peerJid": ANA, "offerTime": 1795832963}, Proof.EVENT),
        # The page posts these by itself, whether WhatsApp is in reach or not.
        ({"event": "onack", **OUTBOUND_MESSAGE, "ack": 0}, None),
        ({"event": "onack", **OUTBOUND_MESSAGE, "ack": -1}, None),
        ({"event": "onselfmessage", **OUTBOUND_MESSAGE}, None),
        ({"event": "onmessage", **OUTBOUND_MESSAGE}, None),
        ({"event": "unreadmessages", **INBOUND_MESSAGE}, None),
        ({"event": "onreactionmessage", **ON_MINE, "id": f"true_{ANA}_3EB0CC", "sender": ME}, None),
        ({"event": "onrevokedmessage", "from": ANA, "to": ME, "id": "x", "refId": f"true_{ANA}_3EB0BB"}, None),
        ({"event": "onpresencechanged", "id": ANA, "isOnline": True}, None),
    ],
    ids=lambda value: f"{value['event']}_{value.get('ack', '')}" if isinstance(value, dict) else str(value),
)
def test_it_proves_a_session_by_what_whatsapp_alone_can_bring(
    user: Actor, database: Database, payload: dict[str, Any], proof: Proof | None
) -> None:
    connected(database, user)
    arrive(database, user, payload)
    assert database.one("select last_proof_kind from whatsapp_sessions") == proof
