"""Whatever order the events of a history come in, and however often: it makes the conversations that it should.

The full length, with processes killed meanwhile, is in tests/faults.
"""

import json
from uuid import UUID

import pytest

from services import files, inbox, lookups
from services.db.actor import Actor
from services.wppconnect import events as webhook
from tests import story
from tests.conftest import Database, connected

EVENTS = 400


@pytest.mark.parametrize("seed", [1, 2])
def test_it_makes_the_conversations_that_it_should(database: Database, user: Actor, seed: int) -> None:
    connected(database, user)
    name, told = f"user_{user.user_id}", story.make(seed, EVENTS)
    for event in told.events:
        body = bytes(files.put_aside(name, json.dumps(event).encode()))
        key = webhook.dedupe_key(name, webhook.summary(event))
        database.execute(
            "insert into events (session, kind, dedupe_key, request_id, body)"
            " values (%s, %s, %s, gen_random_uuid(), %s) on conflict do nothing",
            name,
            webhook.summary(event).kind,
            UUID(bytes=key) if key else None,
            body.decode(),
        )
    while inbox.process():
        pass
    assert database.one("select count(*) from events where verdict not in ('handled', 'unsupported')") == 0
    assert lookups.fetch() == 0
    story.assert_told(database, told)
