"""The receiver's log: what staff see of it, and what a replay and its rehearsal do."""

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, text

from services.db.actor import Actor
from services.db.engine import transaction
from services.errors import Forbidden, NotFound
from services.inbound import event_dry_run, event_log, event_rates, event_replay, event_shape, event_writer
from services.inbound.event_log import EventFilter, Verdict
from services.inbound.event_shape import HIDDEN, Unreadable
from tests.support.databases import Database
from tests.support.events import EVENT_FIXTURES, status_event, store_event, verdict_of

MANY = 100_000
HOUR = timedelta(hours=1)


def ids(found: event_log.EventPage) -> list[int]:
    return [event.id for event in found.events]


# --- looking ----------------------------------------------------------------------------------------------------------


def test_it_lists_newest_first_by_session_kind_verdict_and_period(
    database: Database, staff: Actor, new_actor: Callable[..., Actor]
) -> None:
    ana, rui = new_actor(email="ana@example.com"), new_actor(email="rui@example.com")
    old = store_event(database, status_event("notLogged"), ana, "handled", age="2 hours")
    failed = store_event(database, status_event("inChat"), ana, "failed")
    waiting = store_event(database, {"event": "onack"}, rui)
    broken = store_event(database, "no json", None, "invalid")
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
    of_ana, of_bia = (store_event(database, status_event("inChat"), one, "failed") for one in (ana, bia))
    one = event_log.list_events(staff, EventFilter(session="ana@example.com"))
    assert (ids(one), one.too_many) == ([of_ana], False)
    both = event_log.list_events(staff, EventFilter(session="a@example.com"))
    assert (ids(both), both.too_many) == ([of_ana], True)
    assert event_replay.count_failed(staff, EventFilter(session="a@example.com")) == 1
    assert verdict_of(database, of_bia) == "failed"


def test_it_reads_chosen_events_again_as_they_are_now(database: Database, staff: Actor, user: Actor) -> None:
    first, second = (store_event(database, status_event("inChat"), user, "failed") for _ in range(2))
    event_replay.replay_events(staff, [first])
    assert [(one.id, one.verdict) for one in event_log.get_events(staff, [first, second, second + 1])] == [
        (second, Verdict.FAILED),
        (first, Verdict.RECEIVED),
    ]


def test_it_shows_no_event_to_a_user(database: Database, user: Actor) -> None:
    mine = store_event(database, status_event("inChat"), user, "failed")
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
    mine = store_event(database, status_event("inChat"), user, "failed")
    with transaction(user) as tx:
        assert tx.execute(text("update events set verdict = 'received'")).rowcount == 0
    assert verdict_of(database, mine) == "failed"


def test_the_database_itself_lets_staff_move_a_failed_event_to_received_only(database: Database, staff: Actor) -> None:
    handled, failed = (
        store_event(database, status_event("inChat"), None, verdict) for verdict in ("handled", "failed")
    )
    with transaction(staff) as tx:
        assert tx.execute(text(f"update events set verdict = 'received' where id = {handled}")).rowcount == 0
    with pytest.raises(Exception, match="row-level security"), transaction(staff) as tx:
        tx.execute(text(f"update events set verdict = 'handled' where id = {failed}"))


@pytest.mark.parametrize("path", sorted(EVENT_FIXTURES.glob("*.json")), ids=lambda path: path.stem)
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
    event = store_event(database, {"event": "onmessage", "body": "um segredo"}, user, "failed")
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


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", Unreadable.EMPTY),
        (b" \n", Unreadable.EMPTY),
        (b"[1]", Unreadable.NO_OBJECT),
        (b"null", Unreadable.NO_OBJECT),
        (gzip.compress(b"{}", mtime=0), Unreadable.PACKED),
        ('{"body":"ação"}'.encode("latin-1"), Unreadable.NO_UTF8),
        (b"\x0b\x02\x80{}\x03", Unreadable.NO_UTF8),
        (b'{"body":"cut o', Unreadable.NO_JSON),
        (b"event=onmessage", Unreadable.NO_JSON),
    ],
)
def test_it_says_why_a_body_could_not_be_read(body: bytes, why: Unreadable) -> None:
    row = event_writer.encode_event(event_writer.Delivery(None, True, body), b"x" * 16)
    assert row.verdict == b"invalid"
    assert event_shape.explain_unreadable(row.body.decode()) is why


def test_it_says_why_only_of_what_could_not_be_read(database: Database, staff: Actor) -> None:
    broken = event_log.get_event(staff, store_event(database, "no json", None, "invalid"))
    handled = event_log.get_event(staff, store_event(database, {"event": "onmessage"}, None, "handled"))
    assert (broken.unreadable, handled.unreadable) == (Unreadable.NO_JSON, None)


def test_it_reads_no_file_to_tell_its_shape(database: Database, staff: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    event = store_event(database, {"event": "onmessage", "body": "x" * event_shape.SHAPE_BYTES}, None, "handled")
    found = event_log.get_event(staff, event)
    assert found.shape == []
    assert found.event.size > event_shape.SHAPE_BYTES


def test_it_counts_the_last_hour_by_minute_and_says_how_long_the_oldest_waits(database: Database, staff: Actor) -> None:
    assert event_rates.get_rates(staff) == event_rates.EventRates([], None)
    store_event(database, status_event("inChat"), None, "handled", age="2 hours")
    first = store_event(database, status_event("inChat"), None, "handled", age="10 minutes")
    database.execute("update events set handled_at = received_at + interval '3 s' where id = %s", first)
    store_event(database, status_event("inChat"), None, "received", age="90 s")
    store_event(database, "no json", None, "invalid", age="30 s")
    found = event_rates.get_rates(staff)
    assert [(one.verdict, one.count, round(one.waited)) for one in found.minutes] == [
        (Verdict.HANDLED, 1, 3),
        (Verdict.RECEIVED, 1, 90),
        (Verdict.INVALID, 1, 0),
    ]
    assert found.oldest_waiting == pytest.approx(90, abs=5)


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
