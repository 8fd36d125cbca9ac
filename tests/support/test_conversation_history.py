"""The events of a history make the right conversations, in whatever order and however often they come.

tests/faults has the full length, with processes killed meanwhile.
"""

import json
from uuid import UUID

import pytest

from services.db.actor import Actor
from services.inbound import enrichment, event_processing, inline_files
from services.wppconnect import event_keys
from tests.support import conversation_history
from tests.support.databases import Database
from tests.support.sessions import connected

EVENTS = 400


@pytest.mark.parametrize("seed", [1, 2])
def test_it_makes_the_conversations_that_it_should(database: Database, user: Actor, seed: int) -> None:
    connected(database, user)
    name, told = f"user_{user.user_id}", conversation_history.make_history(seed, EVENTS)
    for event in told.events:
        body = bytes(inline_files.extract_file(name, json.dumps(event).encode()))
        key = event_keys.get_dedupe_key(name, event_keys.get_event_key(event))
        database.execute(
            "insert into events (session, kind, dedupe_key, request_id, body)"
            " values (%s, %s, %s, gen_random_uuid(), %s) on conflict do nothing",
            name,
            event_keys.get_event_key(event).kind,
            UUID(bytes=key) if key else None,
            body.decode(),
        )
    while event_processing.process():
        pass
    assert database.one("select count(*) from events where verdict not in ('handled', 'unsupported')") == 0
    assert enrichment.fetch_files() == 0
    conversation_history.assert_recorded(database, told)
