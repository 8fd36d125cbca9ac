"""Events as the receiver stores them."""

import json
from typing import Any

from services.db.actor import Actor
from tests.support.databases import Database
from tests.support.paths import ROOT

# Webhooks as real servers posted them.
EVENT_FIXTURES = ROOT / "tests" / "services" / "wppconnect" / "fixtures"


def store_event(
    database: Database,
    body: Any,
    actor: Actor | None = None,
    verdict: str = "received",
    kind: str = "",
    age: str = "0",
) -> int:
    """An event as the receiver leaves it; returns its id."""
    payload = body if isinstance(body, str) else json.dumps(body)
    found: int = database.one(
        "insert into events (session, kind, verdict, request_id, body, received_at)"
        " values (%s, %s, %s, gen_random_uuid(), %s, now() - %s::interval) returning id",
        f"user_{actor.user_id}" if actor else None,
        kind or (body["event"] if isinstance(body, dict) else "invalid"),
        verdict,
        payload,
        age,
    )
    return found


def status_event(word: str) -> dict[str, Any]:
    return {"event": "status-find", "session": "x", "status": word}


def verdict_of(database: Database, event: int) -> Any:
    return database.one("select verdict from events where id = %s", event)
