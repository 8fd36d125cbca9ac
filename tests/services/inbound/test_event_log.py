"""The receiver's log: what staff see of it, and what a replay and its rehearsal do."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, text

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.errors import Forbidden, InvalidInput, NotFound, WorkerAway
from services.inbound import event_dry_run, event_log, event_processing, event_rates, event_replay, event_shape
from services.inbound.event_log import EventFilter, Verdict
from services.inbound.event_shape import HIDDEN
from services.platform.worker_loop import WorkerLoop
from tests.conftest import Database, connected

FIXTURES = Path(__file__).parents[1] / "wppconnect" / "fixtures"
MANY = 100_000
HOUR = timedelta(hours=1)


def store(
    database: Database, body: Any, actor: Actor | None = None, verdict: str = "received", kind: str = "", age: str = "0"
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


def status(word: str) -> dict[str, Any]:
    return {"event": "status-find", "session": "x", "status": word}


def verdict(database: Database, event: int) -> Any:
    return database.one("select verdict from events where id = %s", event)


@pytest.fixture
def worker(database: Database) -> Iterator[None]:
    """The worker's loop that answers trials."""
    loop = WorkerLoop("trials", event_dry_run.run_pending_dry_runs, lambda: 0.02).start()
    yield
    loop.stop()


def ids(found: event_log.EventPage) -> list[int]:
    return [event.id for event in found.events]


# --- looking ----------------------------------------------------------------------------------------------------------


def test_it_lists_newest_first_by_session_kind_verdict_and_period(
    database: Database, staff: Actor, new_actor: Callable[..., Actor]
) -> None:
    ana, rui = new_actor(email="ana@example.com"), new_actor(email="rui@example.com")
    old = store(database, status("notLogged"), ana, "handled", age="2 hours")
    failed = store(database, status("inChat"), ana, "failed")
    waiting = store(database, {"event": "onack"}, rui)
    broken = store(database, "no json", None, "invalid")
    everything = event_log.list_events(staff)
    assert ids(everything) == [broken, waiting, failed, old]
    assert (everything.events[1].email, everything.events[0].email) == ("rui@example.com", None)
    assert ids(event_log.list_events(staff, EventFilter(session="ana@"))) == [failed, old]
    assert ids(event_log.list_events(staff, EventFilter(session=f"user_{rui.user_id}"))) == [waiting]
    assert ids(event_log.list_events(staff, EventFilter(session="ninguém"))) == []
    assert ids(event_log.list_events(staff, EventFilter(session="%"))) == []
    assert ids(event_log.list_events(staff, EventFilter(kind="status-find"))) == [failed, old]
    assert ids(event_log.list_events(staff, EventFilter(session="ana", within=HOUR))) == [failed]
    for verdict, expected in [(Verdict.FAILED, [failed]), (Verdict.RECEIVED, [waiting]), (Verdict.HANDLED, [old])]:
        assert ids(event_log.list_events(staff, EventFilter(verdict=verdict))) == expected
    assert event_log.list_kinds(staff) == ["invalid", "status-find"]


def test_it_pages_without_losing_or_repeating_an_event(database: Database, staff: Actor) -> None:
    database.execute(
        "insert into events (kind, verdict, request_id, body) select 'onack',"
        " case when i %% 7 = 0 then 'received' else 'handled' end, gen_random_uuid(), '{}'"
        " from generate_series(1, %s) i",
        2 * event_log.PAGE_SIZE + 1,
    )
    seen: list[int] = []
    before: int | None = None
    while True:
        found = event_log.list_events(staff, before=before)
        seen += ids(found)
        before = found.older
        if before is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == len(seen) == 2 * event_log.PAGE_SIZE + 1


def test_it_says_when_a_search_means_more_people_than_it_looks_for(
    database: Database, staff: Actor, new_actor: Callable[..., Actor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "MAX_NAMES", 2)
    ana, bia = (new_actor(email=f"{name}@example.com") for name in ("ana", "bia"))
    of_ana, of_bia = (store(database, status("inChat"), one, "failed") for one in (ana, bia))
    one = event_log.list_events(staff, EventFilter(session="ana@example.com"))
    assert (ids(one), one.too_many) == ([of_ana], False)
    both = event_log.list_events(staff, EventFilter(session="a@example.com"))
    assert (ids(both), both.too_many) == ([of_ana], True)
    assert event_replay.count_failed(staff, EventFilter(session="a@example.com")) == 1
    assert verdict(database, of_bia) == "failed"


def test_it_reads_chosen_events_again_as_they_are_now(database: Database, staff: Actor, user: Actor) -> None:
    first, second = (store(database, status("inChat"), user, "failed") for _ in range(2))
    event_replay.replay_events(staff, [first])
    assert [(one.id, one.verdict) for one in event_log.get_events(staff, [first, second, second + 1])] == [
        (second, Verdict.FAILED),
        (first, Verdict.RECEIVED),
    ]


def test_it_shows_no_event_to_a_user(database: Database, user: Actor) -> None:
    mine = store(database, status("inChat"), user, "failed")
    for call in (
        lambda: event_log.list_events(user),
        lambda: event_log.get_events(user, [mine]),
        lambda: event_log.list_kinds(user),
        lambda: event_rates.get_rates(user),
        lambda: event_log.get_event(user, mine),
        lambda: event_replay.replay_events(user, [mine]),
        lambda: event_replay.count_failed(user, EventFilter()),
        lambda: list(event_replay.replay_matching(user, EventFilter())),
        lambda: event_dry_run.request_dry_runs(user, [mine]),
    ):
        with pytest.raises(Forbidden):
            call()


def test_the_database_itself_keeps_a_user_from_replaying(database: Database, user: Actor) -> None:
    mine = store(database, status("inChat"), user, "failed")
    with transaction(user) as tx:
        assert tx.execute(text("update events set verdict = 'received'")).rowcount == 0
    assert verdict(database, mine) == "failed"


def test_the_database_itself_lets_staff_move_a_failed_event_to_received_only(database: Database, staff: Actor) -> None:
    handled, failed = (store(database, status("inChat"), None, verdict) for verdict in ("handled", "failed"))
    with transaction(staff) as tx:
        assert tx.execute(text(f"update events set verdict = 'received' where id = {handled}")).rowcount == 0
    with pytest.raises(Exception, match="row-level security"), transaction(staff) as tx:
        tx.execute(text(f"update events set verdict = 'handled' where id = {failed}"))


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.json")), ids=lambda path: path.stem)
def test_it_shows_the_shape_of_a_body_and_nothing_that_is_somebodys(path: Path) -> None:
    body = json.loads(path.read_text())
    fields = event_shape.describe_body(json.dumps(body))
    assert fields
    assert {field.path.split(".")[0].removesuffix("[]") for field in fields} == body.keys()
    open_values = {field.value for field in fields} - {HIDDEN, ""}
    shown = {"event", "status", "type", "self"}
    assert open_values <= {str(body.get(key)) for key in shown} | {"true", "false", "null"} | {
        str(number) for number in range(-99, 100)
    }


def test_it_hides_texts_codes_files_and_numbers_wherever_they_stand() -> None:
    secrets = ["Bom", "2@abc", "data:image/png;base64,iVBO", "5511999998888@c.us", "5511999998888"]
    body = {
        "event": "onmessage",
        "body": secrets[0],
        "urlcode": secrets[1],
        "list": [secrets[2]],
        "sender": {"id": secrets[3], "status": "Ocupado", "type": "Chefe"},
        secrets[4]: 5511999998888,
        "type": "chat",
        "status": "uma frase inteira",
        "ack": 5511999998888,
    }
    told = str(event_shape.describe_body(json.dumps(body)))
    assert "chat" in told
    assert "onmessage" in told
    assert not [one for one in [*secrets, "Ocupado", "Chefe", "uma frase"] if f"'{one}" in told]
    assert "5511" not in told


@pytest.mark.parametrize("body", [None, "", "no json", "[1]", "[" * 5000])
def test_it_has_no_shape_for_what_is_no_object(body: str | None) -> None:
    assert event_shape.describe_body(body) == []


def test_it_goes_only_so_deep_and_so_far_into_a_body() -> None:
    deep = "[" * 400 + "]" * 400
    wide = json.dumps({f"key{'x' * (n % 30)}_{n}": n for n in range(5000)})
    assert [field.path for field in event_shape.describe_body(f'{{"a": {deep}}}')][-1] == "a" + "[]" * (
        event_shape.SHAPE_DEPTH - 1
    )
    assert len(event_shape.describe_body(wide)) == event_shape.SHAPE_FIELDS


def test_it_tells_one_event_with_the_places_where_it_failed(database: Database, staff: Actor, user: Actor) -> None:
    event = store(database, {"event": "onmessage", "body": "um segredo"}, user, "failed")
    database.execute(
        "update events set error = 'services/inbound/event_processing.py:1 in x', attempts = 3 where id = %s", event
    )
    found = event_log.get_event(staff, event)
    assert (found.event.attempts, found.event.error, found.event.email) == (
        3,
        "services/inbound/event_processing.py:1 in x",
        user.email,
    )
    assert [(field.path, field.type, field.value) for field in found.shape] == [
        ("event", "text[9]", "onmessage"),
        ("body", "text[10]", HIDDEN),
    ]
    with pytest.raises(NotFound):
        event_log.get_event(staff, event + 1)


def test_it_reads_no_file_to_tell_its_shape(database: Database, staff: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    event = store(database, {"event": "onmessage", "body": "x" * event_shape.SHAPE_BYTES}, None, "handled")
    found = event_log.get_event(staff, event)
    assert found.shape == []
    assert found.event.size > event_shape.SHAPE_BYTES


def test_it_counts_the_last_hour_by_minute_and_says_how_long_the_oldest_waits(database: Database, staff: Actor) -> None:
    assert event_rates.get_rates(staff) == event_rates.EventRates([], None)
    store(database, status("inChat"), None, "handled", age="2 hours")
    first = store(database, status("inChat"), None, "handled", age="10 minutes")
    database.execute("update events set handled_at = received_at + interval '3 s' where id = %s", first)
    store(database, status("inChat"), None, "received", age="90 s")
    store(database, "no json", None, "invalid", age="30 s")
    found = event_rates.get_rates(staff)
    assert [(one.verdict, one.count, round(one.waited)) for one in found.minutes] == [
        (Verdict.HANDLED, 1, 3),
        (Verdict.RECEIVED, 1, 90),
        (Verdict.INVALID, 1, 0),
    ]
    assert found.oldest_waiting == pytest.approx(90, abs=5)


# --- replaying --------------------------------------------------------------------------------------------------------


def test_it_sends_a_failed_event_round_again_and_the_worker_handles_it(
    database: Database, staff: Actor, user: Actor
) -> None:
    connected(database, user)
    database.execute("update whatsapp_sessions set status = 'pareando'")
    event = store(database, status("inChat"), user, "failed")
    database.execute("update events set attempts = 3, retry_at = now() + interval '1 day'")
    assert event_replay.replay_events(staff, [event]) == 1
    assert event_processing.process() == 1
    assert database.one("select verdict from events") == "handled"
    assert database.one("select status from whatsapp_sessions") == "conectado"
    assert database.execute("select action, subject, detail from audit_log") == [
        ("event.replay", str(event), {"ids": [event]})
    ]


def test_it_replays_an_event_once_and_only_one_that_failed(database: Database, staff: Actor) -> None:
    others = [store(database, status("x"), None, one) for one in Verdict if one is not Verdict.FAILED]
    failed = store(database, status("x"), None, "failed")
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
        store(database, status("x"), user, "failed")
    other = store(database, status("x"), None, "failed")
    steps = list(event_replay.replay_matching(staff, EventFilter(session=user.email)))
    assert [(one.done, one.total) for one in steps] == [(0, 5), (2, 5), (4, 5), (5, 5)]
    assert database.execute("select id from events where verdict = 'failed'") == [(other,)]


def test_it_tells_what_an_event_would_change_and_changes_nothing(
    database: Database, staff: Actor, user: Actor, worker: None
) -> None:
    connected(database, user)
    database.execute("update whatsapp_sessions set status = 'pareando'")
    event = store(database, status("inChat"), user, "failed")
    before = database.execute("select s::text, e.verdict, e.attempts from whatsapp_sessions s, events e")
    (trial,) = event_dry_run.request_dry_runs(staff, [event])
    changed = {(one.where, one.field): (one.before, one.after) for one in trial.changes}
    assert changed["session", "status"] == ("pareando", "conectado")
    assert trial.verdict is Verdict.HANDLED
    assert database.execute("select s::text, e.verdict, e.attempts from whatsapp_sessions s, events e") == before


def test_it_tries_many_events_each_by_itself(database: Database, staff: Actor, user: Actor, worker: None) -> None:
    connected(database, user)
    database.execute("update whatsapp_sessions set status = 'pareando'")
    events = [store(database, status("inChat"), user, "failed") for _ in range(event_dry_run.MAX_AT_ONCE + 2)]
    trials = event_dry_run.request_dry_runs(staff, [*events, events[-1] + 1])
    assert [one.event_id for one in trials] == sorted(events, reverse=True)
    for trial in trials:
        assert ("session", "status", "conectado") in [(one.where, one.field, one.after) for one in trial.changes]
    with pytest.raises(InvalidInput):
        event_dry_run.request_dry_runs(staff, range(event_log.PAGE_SIZE + 1))


def test_it_tells_that_an_acknowledgement_would_move_its_message(
    database: Database, staff: Actor, user: Actor, worker: None
) -> None:
    session = connected(database, user)
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, body, wpp_id)"
        " values (%s, %s, 'out', 'accepted', '5511', 'um segredo', 'true_x')",
        session,
        user.user_id,
    )
    known, unknown = (
        store(database, {"event": "onack", "id": {"_serialized": one}, "ack": 2}, user, "failed")
        for one in ("true_x", "true_y")
    )
    moved = {(one.where, one.field): one.after for one in event_dry_run.request_dry_runs(staff, [known])[0].changes}
    assert moved["message", "state"] == "delivered"
    parked = event_dry_run.request_dry_runs(staff, [unknown])[0].changes
    assert {one.where for one in parked} >= {"parked_ack"}
    assert "true_" not in str(parked)
    assert database.one("select state from messages") == "accepted"
    assert database.one("select count(*) from pending_acks") == 0


def test_it_shows_no_qr_in_what_would_change(database: Database, staff: Actor, user: Actor, worker: None) -> None:
    connected(database, user)
    database.execute("update whatsapp_sessions set status = 'pareando', pairing_started_at = now() - interval '1 s'")
    event = store(database, {"event": "qrcode", "urlcode": "2@private", "qrcode": "aGVsbG8="}, user, "failed")
    changes = event_dry_run.request_dry_runs(staff, [event])[0].changes
    assert ("qr_urlcode", None, HIDDEN) in [(one.field, one.before, one.after) for one in changes]
    assert "2@private" not in str(changes)
    assert "2@private" not in str(database.execute("select answer from event_dry_runs"))


def test_it_says_that_nothing_would_change(database: Database, staff: Actor, user: Actor, worker: None) -> None:
    event = store(database, {"event": "onmessage", "body": "x"}, user, "handled")
    (trial,) = event_dry_run.request_dry_runs(staff, [event])
    assert (trial.verdict, trial.changes, trial.error) == (Verdict.UNSUPPORTED, [], None)


def test_it_tells_where_an_event_would_fail_again(database: Database, staff: Actor, user: Actor, worker: None) -> None:
    connected(database, user)
    database.execute(
        "create function fail() returns trigger language plpgsql as $f$ begin raise exception 'um segredo'; end $f$;"
    )
    database.execute("create trigger fail before update on whatsapp_sessions for each row execute function fail()")
    event = store(database, status("inChat"), user, "failed")
    (trial,) = event_dry_run.request_dry_runs(staff, [event])
    assert trial.verdict is Verdict.FAILED
    assert re.search(r"services/inbound/event_handlers\.py:\d+ in ", trial.error or "")
    assert "um segredo" not in (trial.error or "")
    assert trial.changes == []


def test_it_says_that_the_worker_is_away(database: Database, staff: Actor) -> None:
    event = store(database, status("inChat"), None, "failed")
    with pytest.raises(WorkerAway):
        event_dry_run.request_dry_runs(staff, [event], seconds=0)
    with pytest.raises(NotFound):
        event_dry_run.request_dry_runs(staff, [event + 1])


def test_it_tries_an_event_out_without_a_word_to_the_outside(
    database: Database, staff: Actor, user: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every kind of event, in every status, while no socket can be opened: libpq has its own."""
    connected(database, user)
    for path in sorted(FIXTURES.glob("*.json")):
        store(database, json.loads(path.read_text()), user, "failed", kind=path.stem.partition("__")[0])
    calls: list[Any] = []

    def refuse(self: socket.socket, address: Any) -> None:
        calls.append(address)
        raise OSError("no way out")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for state in ("desconectado", "pareando", "conectado"):
        database.execute("update whatsapp_sessions set status = %s, pairing_started_at = now() - interval '1 s'", state)
        database.execute("insert into event_dry_runs (event_id, actor_id) select id, %s from events", staff.user_id)
        asked = len(database.execute("select 1 from event_dry_runs where answer is null"))
        assert asked >= len(list(FIXTURES.glob("*.json")))
        while event_dry_run.run_pending_dry_runs():
            pass
    assert calls == []
    assert database.one("select count(*) from event_dry_runs where answer ->> 'error' is not null") == 0


# --- beside a clean-up ------------------------------------------------------------------------------------------------


def test_trials_go_with_their_event_and_keep_no_clean_up_waiting(
    database: Database, staff: Actor, user: Actor, worker: None
) -> None:
    tried, asked_now, other = (store(database, status("x"), user, "handled", age="40 days") for _ in range(3))
    event_dry_run.request_dry_runs(staff, [tried])
    with psycopg.connect(database.url) as asking, transaction(SYSTEM) as tx:
        asking.execute("insert into event_dry_runs (event_id, actor_id) values (%s, %s)", (asked_now, staff.user_id))
        tx.execute(text("set local lock_timeout = '1s'"))
        assert tx.execute(text("select app.purge_expired('events', '30 days', 100)")).scalar_one() == 2
    assert database.execute("select id from events") == [(asked_now,)]
    assert database.execute("select event_id from event_dry_runs") == [(asked_now,)]
    with pytest.raises(NotFound):
        event_dry_run.request_dry_runs(staff, [other])


# --- at scale ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def busy(database: Database) -> Database:
    """100,000 events of 400 sessions over three days that ended five hours ago, a few of them in trouble."""
    database.execute(
        "insert into events (received_at, session, kind, verdict, handled_at, request_id, body)"
        " select now() - interval '5 hours' - (%s - i) * interval '2.6 s', 'user_' || i %% 400,"
        " (array['onmessage', 'onack', 'status-find', 'qrcode'])[1 + i %% 4],"
        " case when i %% 5000 = 0 then 'failed' when i %% 3 = 0 then 'unsupported' else 'handled' end,"
        " now(), gen_random_uuid(), '{}' from generate_series(1, %s) i",
        MANY,
        MANY,
    )
    database.execute("update events set verdict = 'received' where id > %s", MANY - 20)
    database.execute("update events set session = 'user_400' where id <= 40000 and id % 3 > 0")
    database.execute("update events set kind = 'incomingcall' where id in (100, 5000, 75000)")
    database.execute("analyze events")
    database.execute("vacuum events")
    return database


def plan(actor: Actor, wanted: EventFilter, before: int | None = None) -> dict[str, Any]:
    """The plan of the statement that chooses a page's ids."""
    with transaction(actor) as tx:
        statement = event_log._select_page(tx, wanted, event_log._find_session_names(tx, wanted), before)
        compiled = statement.compile(tx.engine, compile_kwargs={"render_postcompile": True, "literal_binds": True})
        found = tx.exec_driver_sql(f"explain (analyze, format json) {str(compiled).replace('%', '%%')}").scalar_one()
    return dict(found[0]["Plan"])


def nodes(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield root
    for child in root.get("Plans", []):
        yield from nodes(child)


def test_it_finds_each_page_through_an_index_among_100000_events(busy: Database, staff: Actor) -> None:
    cases: list[tuple[EventFilter, int | None, str]] = [
        (EventFilter(), None, "events_pkey"),
        (EventFilter(), MANY // 2, "events_pkey"),
        (EventFilter(within=HOUR), None, "events_"),
        (EventFilter(within=timedelta(days=1)), None, "events_"),
        (EventFilter(session="user_7"), None, "events_of_session"),
        (EventFilter(session="user_7"), MANY // 2, "events_of_session"),
        (EventFilter(session="user_7", kind="qrcode", within=timedelta(days=1)), None, "events_of_session"),
        # Most of them, but none of late: nothing tells the planner.
        (EventFilter(session="user_400", within=timedelta(days=1)), None, "events_"),
        (EventFilter(kind="incomingcall"), None, "events_of_kind"),
        (EventFilter(kind="incomingcall", within=HOUR), None, "events_"),
        (EventFilter(verdict=Verdict.FAILED), None, "events_of_verdict"),
        (EventFilter(verdict=Verdict.FAILED, within=HOUR), None, "events_"),
        (EventFilter(verdict=Verdict.DUPLICATE), None, "events_of_verdict"),
        (EventFilter(verdict=Verdict.RECEIVED), None, "events_waiting"),
    ]
    for wanted, before, index in cases:
        found = list(nodes(plan(staff, wanted, before)))
        assert [node for node in found if index in node.get("Index Name", "")], (wanted, before)
        assert not [node for node in found if node["Node Type"] == "Seq Scan" and node["Relation Name"] == "events"]
        touched = sum(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in found)
        assert touched < 3_000, (wanted, before, touched)
    assert event_log.list_kinds(staff) == ["incomingcall", "onack", "onmessage", "qrcode", "status-find"]


def test_it_counts_the_last_hour_through_an_index_among_100000_events(busy: Database, staff: Actor) -> None:
    with transaction(staff) as tx:
        for statement in (
            event_rates._select_by_minute(event_log.is_done(), func.now()),
            event_log._select_first_within(HOUR),
        ):
            compiled = statement.compile(tx.engine, compile_kwargs={"literal_binds": True})
            root = tx.exec_driver_sql(f"explain (format json) {compiled}").scalar_one()[0]["Plan"]
            assert "events_done" in {node.get("Index Name") for node in nodes(root)}
