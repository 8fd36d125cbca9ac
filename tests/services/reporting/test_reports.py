"""Reports equal what one counts in the messages themselves: any period, any time zone, however late a change comes."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import event, text

from services.db.actor import SYSTEM, Actor
from services.db.engine import get_console_engine, transaction
from services.errors import Forbidden, InvalidInput
from services.platform import local_time
from services.reporting import reports, rollups, weekly_summary
from services.reporting.report_model import Totals
from services.reporting.report_periods import Period
from services.reporting.weekly_summary import AlertNotPosted
from tests.support import days
from tests.support.alert_receiver import AlertReceiver
from tests.support.databases import Database
from tests.support.report_counts import Told, assert_same, change_message, count, write_message
from tests.support.sessions import connected

# Zones with whole, half and quarter hours, and clocks that go forward, back, and over midnight.
ZONES = {
    "America/Sao_Paulo": (date(2018, 11, 4), date(2020, 11, 2)),
    "America/New_York": (date(2020, 3, 8), date(2020, 11, 1)),
    "America/St_Johns": (date(2020, 3, 8), date(2020, 11, 1)),
    "Asia/Kolkata": (date(2020, 11, 2),),
    "Asia/Kathmandu": (date(2020, 11, 2),),
    "Australia/Lord_Howe": (date(2020, 4, 5),),
    "UTC": (date(2020, 11, 2),),
}
PHONES = ("5511911111111", "5511922222222")
STATES = ("queued", "sending", "accepted", "sent", "delivered", "read", "failed", "uncertain")
TEMPLATES = (None, UUID(int=1), UUID(int=2))
ON_ONE_DATABASE = examples(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


def fold_all() -> None:
    while rollups.run_round():
        pass


# --- stories ----------------------------------------------------------------------------------------------------------


@st.composite
def messages_around(draw: st.DrawFn, day: date) -> Told:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    at = midnight + timedelta(seconds=draw(st.integers(-2 * 86_400, 3 * 86_400)))
    who, phone = draw(st.integers(0, 1)), draw(st.sampled_from(PHONES))
    if draw(st.booleans()):
        return Told(who, at, phone, "in", "received")
    state = draw(st.sampled_from(STATES))
    arrived = state in ("delivered", "read")
    return Told(
        who,
        at,
        phone,
        state=state,
        failure={"failed": "refused", "uncertain": "unknown"}.get(state),
        template=draw(st.sampled_from(TEMPLATES)),
        campaign=draw(st.sampled_from((None, None, UUID(int=9)))),
        delivery=draw(st.integers(0, 5_000)) if arrived else None,
        reading=draw(st.integers(0, 200_000)) if state == "read" else None,
    )


@st.composite
def stories(draw: st.DrawFn) -> tuple[str, date, list[Told], list[Told]]:
    """A zone, a day at which its clock may jump, messages around it, and what some of them become later."""
    zone = draw(st.sampled_from(sorted(ZONES)))
    day = draw(st.sampled_from(ZONES[zone]))
    told = draw(st.lists(messages_around(day), max_size=12))
    changed = []
    for one in told:
        if one.direction == "out" and draw(st.booleans()):
            later = draw(messages_around(day))
            if later.direction == "out":
                state, failure = later.state, later.failure
                moved = later.at if draw(st.booleans()) else one.at
                changed.append(
                    Told(one.who, moved, one.phone, "out", state, failure, one.template, one.campaign,
                         later.delivery, later.reading, one.id)
                )  # fmt: skip
    return zone, day, told, changed


@pytest.fixture
def people(database: Database, new_actor: Callable[..., Actor]) -> list[Actor]:
    made = [new_actor(), new_actor()]
    for one in made:
        connected(database, one)
    return made


@ON_ONE_DATABASE
@given(story=stories(), length=st.integers(1, 4), late=st.lists(st.integers(0, 11), max_size=4))
def test_it_equals_a_count_over_the_messages(
    database: Database,
    people: list[Actor],
    staff: Actor,
    story: tuple[str, date, list[Told], list[Told]],
    length: int,
    late: list[int],
) -> None:
    zone, day, told, changed = story
    database.execute("delete from messages")
    sessions = [row[0] for row in database.execute("select id from whatsapp_sessions order by created_at")]
    fold_all()
    delayed = [one for number, one in enumerate(told) if number in late]
    told = [one for one in told if one not in delayed] + delayed
    write_message(database, people, sessions, told[: len(told) - len(delayed)])
    fold_all()
    write_message(database, people, sessions, delayed)
    change_message(database, changed)
    fold_all()
    final = {one.id: one for one in told} | {one.id: one for one in changed}
    now_told = [final[one.id] for one in told]
    period = Period(day, day + timedelta(days=length - 1), zone)
    for who, actor in ((0, people[0]), (1, people[1]), (None, staff)):
        found = reports.get_report(actor, period)
        assert_same(found, count(now_told, period, who, found.grain))
    ranked = {row.user_id: row for row in reports.get_ranking(staff, period).rows}
    for who, one in enumerate(people):
        figures = count(now_told, period, who, "day").figures
        row = ranked.get(one.user_id)  # type: ignore[arg-type]
        for name in ("total", "sent", "read", "failed", "received"):
            assert getattr(row, name, 0) == figures[name]
    before = everything(database)
    rollups.rebuild()
    assert everything(database) == before


def everything(database: Database) -> list[Any]:
    """Every row of the rollups."""
    tables = ("report_buckets", "report_times")
    return [database.execute(f"select to_jsonb(t)::text from {table} t order by 1") for table in tables]


# --- late, gone, doubled ----------------------------------------------------------------------------------------------

DAY = days.past_week_from(0)
NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
PERIOD = Period(DAY, DAY, "UTC")


def figures(actor: Actor, period: Period = PERIOD) -> Totals:
    return reports.get_report(actor, period).now


def test_it_corrects_an_old_quarter_when_an_acknowledgement_comes_late(database: Database, people: list[Actor]) -> None:
    one = Told(0, NOON, PHONES[0], state="accepted")
    sessions = [row[0] for row in database.execute("select id from whatsapp_sessions order by created_at")]
    write_message(database, people, sessions, [one])
    fold_all()
    assert (figures(people[0]).waiting, figures(people[0]).read) == (1, 0)
    change_message(database, [Told(0, NOON, PHONES[0], delivery=3, reading=4, id=one.id)])
    assert rollups.run_round() is False, "one round was enough"
    assert (figures(people[0]).waiting, figures(people[0]).read) == (0, 1)


def test_it_counts_as_received_what_a_person_wrote_and_a_ciphertext_once_it_is_read(
    database: Database, people: list[Actor]
) -> None:
    told = [Told(0, NOON - timedelta(minutes=n), PHONES[0], "in", "received") for n in (9, 6, 3)]
    sessions = [row[0] for row in database.execute("select id from whatsapp_sessions order by created_at")]
    write_message(database, people, sessions, [*told, Told(0, NOON, PHONES[0])])
    for one, kind in zip(told, ("e2e_notification", "ciphertext", "chat"), strict=True):
        database.execute("update messages set kind = %s where id = %s", kind, one.id)
    fold_all()
    assert figures(people[0]).received == 1
    assert (
        database.one("select sum(response_ms) from report_buckets where span = 'quarter' and user_id is not null")
        == 3 * 60_000
    )
    database.execute("update messages set kind = 'chat' where kind = 'ciphertext'")
    fold_all()
    assert figures(people[0]).received == 2
    assert (
        database.one("select sum(response_ms) from report_buckets where span = 'quarter' and user_id is not null")
        == 6 * 60_000
    )


def test_it_forgets_what_is_deleted(database: Database, people: list[Actor], staff: Actor) -> None:
    sessions = [row[0] for row in database.execute("select id from whatsapp_sessions order by created_at")]
    write_message(database, people, sessions, [Told(0, NOON, PHONES[0]), Told(1, NOON, PHONES[0])])
    fold_all()
    assert figures(staff).sent == 2
    database.execute("delete from auth.users where id = %s", people[0].user_id)
    fold_all()
    assert figures(staff).sent == 1
    assert database.one("select count(distinct user_id) from report_buckets") == 1


def test_it_counts_opt_outs_and_those_taken_back(database: Database, people: list[Actor], staff: Actor) -> None:
    for phone in PHONES:
        database.execute(
            "insert into opt_outs (user_id, phone, created_at) values (%s, %s, %s)", people[0].user_id, phone, NOON
        )
    fold_all()
    assert (figures(people[0]).opt_outs, figures(people[1]).opt_outs, figures(staff).opt_outs) == (2, 0, 2)
    database.execute("delete from opt_outs where phone = %s", PHONES[0])
    fold_all()
    assert figures(people[0]).opt_outs == 1


def test_it_notes_nothing_where_no_figure_changes(database: Database, people: list[Actor]) -> None:
    sessions = [row[0] for row in database.execute("select id from whatsapp_sessions order by created_at")]
    write_message(database, people, sessions, [Told(0, NOON, PHONES[0], state="queued")])
    fold_all()
    database.execute("update messages set attempts = attempts + 1, claimed_at = now(), updated_at = now()")
    assert database.one("select count(*) from report_dirty_buckets") == 0


def test_it_lets_one_process_count_at_a_time(database: Database, people: list[Actor]) -> None:
    """Two that counted the same quarter at once would both write it."""
    sessions = [row[0] for row in database.execute("select id from whatsapp_sessions order by created_at")]
    write_message(database, people, sessions, [Told(0, NOON, PHONES[0])])
    with transaction(SYSTEM) as tx:
        tx.execute(text("select pg_advisory_xact_lock(hashtextextended('rollups', 0))"))
        assert rollups.run_round() is False
    assert figures(people[0]).sent == 0
    fold_all()
    assert figures(people[0]).sent == 1


def test_it_counts_a_long_chat_that_nobody_answered_at_one_look_a_message(user: Actor, database: Database) -> None:
    session = connected(database, user)
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, body, run_at)"
        " select %s, %s, 'in', 'received', '5511911111111', '', %s::timestamptz + n * interval '1 ms'"
        " from generate_series(1, 10000) n",
        session,
        user.user_id,
        NOON,
    )
    database.execute("analyze messages")
    began = time.monotonic()
    rollups.rebuild()
    # Each message's own look back over all before it would be fifty million rows, a quarter of a minute.
    assert time.monotonic() - began < 4
    assert database.one("select total from report_buckets where span = 'quarter' and user_id is not null") == 10000


def test_it_rests_between_two_rounds(database: Database, people: list[Actor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "ROUND_SECONDS", 600.0)
    sessions = [row[0] for row in database.execute("select id from whatsapp_sessions order by created_at")]
    rounds = rollups.build_rounds()
    rounds.step()
    write_message(database, people, sessions, [Told(0, NOON, PHONES[0])])
    assert rounds.step() is False
    assert rounds.idle_seconds() > 500
    assert figures(people[0]).sent == 0
    assert rollups.build_rounds().step() is False
    assert figures(people[0]).sent == 1


# --- periods ----------------------------------------------------------------------------------------------------------


def test_it_compares_a_day_that_is_not_over_with_as_much_of_the_day_before() -> None:
    now = NOON + timedelta(hours=3, minutes=7)
    before = Period(DAY, DAY, "America/Sao_Paulo").before(now)
    assert before.since == local_time.day_start(DAY - timedelta(days=1), "America/Sao_Paulo")
    assert before.until == NOON - timedelta(days=1) + timedelta(hours=3, minutes=15)
    over = Period(DAY, DAY, "America/Sao_Paulo").before(now + timedelta(days=9))
    assert over.until - over.since == timedelta(days=1)


def test_it_knows_days_of_23_and_25_hours() -> None:
    longer, shorter = (Period(day, day, "America/New_York").span for day in (date(2020, 11, 1), date(2020, 3, 8)))
    assert longer.until - longer.since == timedelta(hours=25)
    assert shorter.until - shorter.since == timedelta(hours=23)
    skipped = Period(date(2018, 11, 4), date(2018, 11, 4), "America/Sao_Paulo").span
    assert skipped.until - skipped.since == timedelta(hours=23), "there was no midnight"


@pytest.mark.parametrize(
    "period",
    [Period(DAY, DAY - timedelta(days=1), "UTC"), Period(DAY, DAY + timedelta(days=2000), "UTC"),
     Period(DAY, DAY, "Mars/Olympus"), Period(DAY, DAY, "../../etc/passwd")],
)  # fmt: skip
def test_it_refuses_a_period_that_is_none(user: Actor, period: Period) -> None:
    with pytest.raises(InvalidInput):
        reports.get_report(user, period)


# --- whose ------------------------------------------------------------------------------------------------------------


def test_it_shows_users_their_own_and_staff_anybodys(
    database: Database, people: list[Actor], staff: Actor, new_actor: Callable[..., Actor]
) -> None:
    sessions = [row[0] for row in database.execute("select id from whatsapp_sessions order by created_at")]
    write_message(
        database, people, sessions, [Told(0, NOON, PHONES[0]), Told(1, NOON, PHONES[0], template=UUID(int=1))]
    )
    fold_all()
    assert reports.get_report(staff, PERIOD, people[0].user_id).now.sent == 1
    with pytest.raises(Forbidden):
        reports.get_report(people[0], PERIOD, people[1].user_id)
    with pytest.raises(Forbidden):
        reports.get_ranking(people[0], PERIOD)
    with pytest.raises(Forbidden):
        reports.list_people(people[0])
    with transaction(people[0]) as tx:
        assert (
            tx.execute(
                text("select count(*) from report_buckets where user_id is distinct from auth.uid()")
            ).scalar_one()
            == 0
        )
    assert [one.email for one in reports.list_people(staff, people[0].email)] == [people[0].email]


def test_it_ranks_people_by_pages_and_orders(database: Database, people: list[Actor], staff: Actor) -> None:
    sessions = [row[0] for row in database.execute("select id from whatsapp_sessions order by created_at")]
    told = [Told(0, NOON, PHONES[0]), Told(0, NOON, PHONES[0]), Told(1, NOON, PHONES[0], "in", "received")]
    write_message(database, people, sessions, told)
    fold_all()
    assert [row.sent for row in reports.get_ranking(staff, PERIOD).rows] == [2, 0]
    assert [row.received for row in reports.get_ranking(staff, PERIOD, "received").rows] == [1, 0]
    second = reports.get_ranking(staff, PERIOD, page=2, size=1)
    assert (len(second.rows), second.total) == (1, 2)


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_it_tells_uptime_and_pairings_from_the_timeline(database: Database, user: Actor, staff: Actor) -> None:
    session_id = connected(database, user)
    database.execute("update whatsapp_sessions set created_at = %s", NOON - timedelta(hours=1))
    story = [(0, "pareando"), (60, "conectado"), (7260, "desconectado"), (9000, "pareando"), (9060, "desconectado")]
    for seconds_after, what in story:
        database.execute(
            "insert into session_timeline (session_id, user_id, occurred_at, kind, action) values (%s, %s, %s,"
            " 'state', %s)",
            session_id, user.user_id, NOON + timedelta(seconds=seconds_after), what,
        )  # fmt: skip
    for actor in (user, staff):
        found = reports.get_report(actor, PERIOD).availability
        assert (found.attempts, found.paired, found.median, found.success) == (2, 1, 60.0, 0.5)
        assert found.up == 7200
        assert found.known == 12 * 3600, "before its first entry nothing is known"
    later = reports.get_report(user, Period(DAY + timedelta(days=1), DAY + timedelta(days=1), "UTC")).availability
    assert (later.up, later.known, later.uptime) == (0, 86_400, 0.0)


def test_it_notes_the_first_pairing_too(database: Database, user: Actor) -> None:
    database.execute(
        "insert into whatsapp_sessions (user_id, session_id, status) values (%s, %s, 'pareando')",
        user.user_id, f"user_{user.user_id}",
    )  # fmt: skip
    assert database.execute("select action from session_timeline") == [("pareando",)]


# --- speed ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def plans(staff: Actor) -> Iterator[list[str]]:
    """The plan of everything that is asked for meanwhile."""
    found: list[str] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        if statement.lstrip().startswith(("select", "with")):
            found.append("\n".join(row[0] for row in cursor.connection.execute(f"explain {statement}", parameters)))

    event.listen(get_console_engine(), "before_cursor_execute", explain)
    yield found
    event.remove(get_console_engine(), "before_cursor_execute", explain)


def test_it_never_reads_a_message(database: Database, people: list[Actor], staff: Actor, plans: list[str]) -> None:
    database.execute(
        "insert into report_buckets select 'quarter', u, t, 'out', null, null, null, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0,"
        " 0, 0, 0 from generate_series(%s, %s::timestamptz, '15 minutes') t,"
        " unnest(array[null, %s::uuid]) u",
        NOON - timedelta(days=300),
        NOON + timedelta(hours=12),
        people[0].user_id,
    )
    database.execute("analyze")
    reports.get_report(people[0], PERIOD)
    reports.get_report(staff, PERIOD)
    reports.get_ranking(staff, PERIOD)
    assert len(plans) > 15
    for plan in plans:
        assert "on messages" not in plan
        assert "Seq Scan on report_buckets" not in plan


# --- the weekly summary -----------------------------------------------------------------------------------------------


def test_it_posts_the_week_that_is_over(alert_receiver: AlertReceiver, database: Database, people: list[Actor]) -> None:
    sessions = [row[0] for row in database.execute("select id from whatsapp_sessions order by created_at")]
    write_message(database, people, sessions, [Told(0, NOON, PHONES[0]), Told(1, NOON - timedelta(days=7), PHONES[0])])
    fold_all()
    monday = NOON + timedelta(days=7, hours=-1)
    assert weekly_summary.post_last_week(monday)
    (heard,) = alert_receiver.heard
    assert f"semana de {DAY:%d/%m} a {DAY + timedelta(days=6):%d/%m}" in heard["text"]
    assert "Enviadas: 1 (+0%)" in heard["text"]
    assert heard["report"]["sent"] == 1
    assert PHONES[0] not in str(heard)
    alert_receiver.status = 500
    with pytest.raises(AlertNotPosted):
        weekly_summary.post_last_week(monday)


def test_it_posts_nothing_without_an_address(database: Database) -> None:
    assert weekly_summary.post_last_week() is False
