"""What /healthz says, from evidence."""

from services.platform import heartbeats
from tests.support.databases import Database


def parts() -> dict[str, bool]:
    return {part.name: part.ok for part in heartbeats.list_components()}


def test_it_sees_a_worker_by_its_heartbeat(database: Database) -> None:
    assert parts() == {"database": True, "worker": False, "inbox": True}
    heartbeats.beat("worker")
    heartbeats.beat("worker")
    assert parts()["worker"]
    assert database.one("select count(*) from heartbeats") == 1
    database.execute("update heartbeats set beat_at = now() - interval '1 minute'")
    assert not parts()["worker"]


def test_it_sees_events_that_nobody_handles(database: Database) -> None:
    database.execute(
        "insert into events (kind, request_id, body, received_at)"
        " values ('onmessage', gen_random_uuid(), '{}', now() - interval '2 minutes')"
    )
    assert not parts()["inbox"]
    database.execute("update events set verdict = 'handled'")
    assert parts()["inbox"]
