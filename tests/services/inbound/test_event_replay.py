"""Failed events handled again, and what an event would change, tried out without a trace."""

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.errors import InvalidInput, NotFound
from services.inbound import event_dry_run, event_log, event_processing, event_replay
from services.inbound.event_dry_run import WorkerAway
from services.inbound.event_log import EventFilter, Verdict
from services.inbound.event_shape import HIDDEN
from services.platform.worker_loop import WorkerLoop
from tests.support.databases import Database
from tests.support.events import EVENT_FIXTURES, status_event, store_event
from tests.support.sessions import connected


@pytest.fixture
def dry_run_worker(database: Database) -> Iterator[None]:
    """The worker's loop that answers trials."""
    loop = WorkerLoop("dry_runs", event_dry_run.run_pending_dry_runs, lambda: 0.02).start()
    yield
    loop.stop()


def test_it_sends_a_failed_event_round_again_and_the_worker_handles_it(
    database: Database, staff: Actor, user: Actor
) -> None:
    connected(database, user)
    database.execute("update whatsapp_sessions set status = 'pareando'")
    event = store_event(database, status_event("inChat"), user, "failed")
    database.execute("update events set attempts = 3, retry_at = now() + interval '1 day'")
    assert event_replay.replay_events(staff, [event]) == 1
    assert event_processing.process() == 1
    assert database.one("select verdict from events") == "handled"
    assert database.one("select status from whatsapp_sessions") == "conectado"
    assert database.execute("select action, subject, detail from audit_log") == [
        ("event.replay", str(event), {"ids": [event]})
    ]


def test_it_replays_an_event_once_and_only_one_that_failed(database: Database, staff: Actor) -> None:
    others = [store_event(database, status_event("x"), None, one) for one in Verdict if one is not Verdict.FAILED]
    failed = store_event(database, status_event("x"), None, "failed")
    assert event_replay.replay_events(staff, [*others, failed]) == 1
    assert event_replay.replay_events(staff, [failed]) == 0
    assert database.one("select count(*) from audit_log") == 1
    assert database.execute("select verdict from events where id = any(%s) order by id", others) == [
        (one.value,) for one in Verdict if one is not Verdict.FAILED
    ]
    with pytest.raises(InvalidInput):
        event_replay.replay_events(staff, range(event_replay.MAX_ROWS + 1))


def test_it_replays_everything_that_a_filter_admits_and_tells_its_progress(
    database: Database, staff: Actor, user: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_replay, "MAX_ROWS", 2)
    for _ in range(5):
        store_event(database, status_event("x"), user, "failed")
    other = store_event(database, status_event("x"), None, "failed")
    steps = list(event_replay.replay_matching(staff, EventFilter(session=user.email)))
    assert [(one.done, one.total) for one in steps] == [(0, 5), (2, 5), (4, 5), (5, 5)]
    assert database.execute("select id from events where verdict = 'failed'") == [(other,)]


def test_it_tells_what_an_event_would_change_and_changes_nothing(
    database: Database, staff: Actor, user: Actor, dry_run_worker: None
) -> None:
    connected(database, user)
    database.execute("update whatsapp_sessions set status = 'pareando'")
    event = store_event(database, status_event("inChat"), user, "failed")
    before = database.execute("select s::text, e.verdict, e.attempts from whatsapp_sessions s, events e")
    (trial,) = event_dry_run.request_dry_runs(staff, [event])
    changed = {(one.where, one.field): (one.before, one.after) for one in trial.changes}
    assert changed["session", "status"] == ("pareando", "conectado")
    assert trial.verdict is Verdict.HANDLED
    assert database.execute("select s::text, e.verdict, e.attempts from whatsapp_sessions s, events e") == before


def test_it_tries_many_events_each_by_itself(
    database: Database, staff: Actor, user: Actor, dry_run_worker: None
) -> None:
    connected(database, user)
    database.execute("update whatsapp_sessions set status = 'pareando'")
    events = [
        store_event(database, status_event("inChat"), user, "failed") for _ in range(event_dry_run.MAX_AT_ONCE + 2)
    ]
    trials = event_dry_run.request_dry_runs(staff, [*events, events[-1] + 1])
    assert [one.event_id for one in trials] == sorted(events, reverse=True)
    for trial in trials:
        assert ("session", "status", "conectado") in [(one.where, one.field, one.after) for one in trial.changes]
    with pytest.raises(InvalidInput):
        event_dry_run.request_dry_runs(staff, range(event_log.PAGE_SIZE + 1))


def test_it_tells_that_an_acknowledgement_would_move_its_message(
    database: Database, staff: Actor, user: Actor, dry_run_worker: None
) -> None:
    session = connected(database, user)
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, body, wpp_id)"
        " values (%s, %s, 'out', 'accepted', '5511', 'um segredo', 'true_x')",
        session,
        user.user_id,
    )
    known, unknown = (
        store_event(database, {"event": "onack", "id": {"_serialized": one}, "ack": 2}, user, "failed")
        for one in ("true_x", "true_y")
    )
    moved = {(one.where, one.field): one.after for one in event_dry_run.request_dry_runs(staff, [known])[0].changes}
    assert moved["message", "state"] == "delivered"
    parked = event_dry_run.request_dry_runs(staff, [unknown])[0].changes
    assert {one.where for one in parked} >= {"pending_ack"}
    assert "true_" not in str(parked)
    assert database.one("select state from messages") == "accepted"
    assert database.one("select count(*) from pending_acks") == 0


def test_it_shows_no_qr_in_what_would_change(
    database: Database, staff: Actor, user: Actor, dry_run_worker: None
) -> None:
    connected(database, user)
    database.execute("update whatsapp_sessions set status = 'pareando', pairing_started_at = now() - interval '1 s'")
    event = store_event(database, {"event": "qrcode", "urlcode": "2@private", "qrcode": "aGVsbG8="}, user, "failed")
    changes = event_dry_run.request_dry_runs(staff, [event])[0].changes
    assert ("qr_urlcode", None, HIDDEN) in [(one.field, one.before, one.after) for one in changes]
    assert "2@private" not in str(changes)
    assert "2@private" not in str(database.execute("select answer from event_dry_runs"))


def test_it_says_that_nothing_would_change(database: Database, staff: Actor, user: Actor, dry_run_worker: None) -> None:
    event = store_event(database, {"event": "onmessage", "body": "x"}, user, "handled")
    (trial,) = event_dry_run.request_dry_runs(staff, [event])
    assert (trial.verdict, trial.changes, trial.error) == (Verdict.UNSUPPORTED, [], None)


def test_it_tells_where_an_event_would_fail_again(
    database: Database, staff: Actor, user: Actor, dry_run_worker: None
) -> None:
    connected(database, user)
    database.execute(
        "create function fail() returns trigger language plpgsql as $f$ begin raise exception 'um segredo'; end $f$;"
    )
    database.execute("create trigger fail before update on whatsapp_sessions for each row execute function fail()")
    event = store_event(database, status_event("inChat"), user, "failed")
    (trial,) = event_dry_run.request_dry_runs(staff, [event])
    assert trial.verdict is Verdict.FAILED
    assert re.search(r"services/inbound/event_handlers\.py:\d+ in ", trial.error or "")
    assert "um segredo" not in (trial.error or "")
    assert trial.changes == []


def test_it_says_that_the_worker_is_away(database: Database, staff: Actor) -> None:
    event = store_event(database, status_event("inChat"), None, "failed")
    with pytest.raises(WorkerAway):
        event_dry_run.request_dry_runs(staff, [event], seconds=0)
    with pytest.raises(NotFound):
        event_dry_run.request_dry_runs(staff, [event + 1])


def test_it_tries_an_event_out_without_a_word_to_the_outside(
    database: Database, staff: Actor, user: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of event, in every status, while no socket can be opened: libpq has its own."""
    connected(database, user)
    for path in sorted(EVENT_FIXTURES.glob("*.json")):
        store_event(database, json.loads(path.read_text()), user, "failed", kind=path.stem.partition("__")[0])
    calls: list[Any] = []

    def refuse(self: socket.socket, address: Any) -> None:
        calls.append(address)
        raise OSError("no way out")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for state in ("desconectado", "pareando", "conectado"):
        database.execute("update whatsapp_sessions set status = %s, pairing_started_at = now() - interval '1 s'", state)
        database.execute("insert into event_dry_runs (event_id, actor_id) select id, %s from events", staff.user_id)
        asked = len(database.execute("select 1 from event_dry_runs where answer is null"))
        assert asked >= len(list(EVENT_FIXTURES.glob("*.json")))
        while event_dry_run.run_pending_dry_runs():
            pass
    assert calls == []
    assert database.one("select count(*) from event_dry_runs where answer ->> 'error' is not null") == 0


def test_trials_go_with_their_event_and_keep_no_clean_up_waiting(
    database: Database, staff: Actor, user: Actor, dry_run_worker: None
) -> None:
    tried, asked_now, other = (
        store_event(database, status_event("x"), user, "handled", age="40 days") for _ in range(3)
    )
    event_dry_run.request_dry_runs(staff, [tried])
    with psycopg.connect(database.url) as asking, transaction(SYSTEM) as tx:
        asking.execute("insert into event_dry_runs (event_id, actor_id) values (%s, %s)", (asked_now, staff.user_id))
        tx.execute(text("set local lock_timeout = '1s'"))
        assert tx.execute(text("select app.purge_expired('events', '30 days', 100)")).scalar_one() == 2
    assert database.execute("select id from events") == [(asked_now,)]
    assert database.execute("select event_id from event_dry_runs") == [(asked_now,)]
    with pytest.raises(NotFound):
        event_dry_run.request_dry_runs(staff, [other])
