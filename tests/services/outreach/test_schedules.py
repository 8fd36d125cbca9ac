"""Schedules: each occurrence once or not at all, at the time on the wall, whoever dies meanwhile."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from itertools import islice, pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contacts import opt_outs
from services.db.actor import Actor
from services.errors import InvalidInput, NotFound
from services.messaging.content import Content, EmptyMessage
from services.outreach import recurrence, schedule_history, schedule_runner, schedules, template_content, templates
from services.outreach.errors import MomentPassed
from services.outreach.recurrence import ScheduleDraft, ScheduleRecipient
from services.outreach.schedules import RunState, Schedule
from services.outreach.template_language import MissingVariable
from services.platform import local_time
from tests.support import days
from tests.support.databases import Database
from tests.support.local_times import LOCAL_TIMES, ZONES
from tests.support.sessions import connected

ZONE = "America/Sao_Paulo"
PHONE, OTHER = "5511987654321", "5521987654321"
# A Wednesday to come, ten o'clock in São Paulo: the database lets nobody take back what is past.
TEN = datetime.combine(days.future_weekday(2), time(10))
NOW = local_time.to_utc(TEN - timedelta(hours=1), ZONE)
# For what knows no clock.
WEDNESDAY = datetime(2020, 11, 25, 10, 0)


def draft(rule: str | None = None, first: datetime = TEN, **other: object) -> ScheduleDraft:
    made = ScheduleDraft("Lembrete", ZONE, first, rule, (ScheduleRecipient(PHONE, "Ana"),), Content(body="Bom dia!"))
    return replace(made, **other)  # type: ignore[arg-type]


@pytest.fixture
def sender(user: Actor, database: Database) -> Actor:
    connected(database, user)
    return user


def make(actor: Actor, rule: str | None = None, first: datetime = TEN, **other: object) -> Schedule:
    return schedules.create(actor, draft(rule, first, **other), NOW)


def at(wall: datetime) -> datetime:
    return local_time.to_utc(wall, ZONE)


def sent(database: Database) -> list[tuple[str, str]]:
    return database.execute("select phone, body from messages order by seq")


# --- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, ["25"]),
        ("FREQ=DAILY;COUNT=3", ["25", "26", "27"]),
        ("FREQ=WEEKLY;BYDAY=MO,WE,FR;COUNT=4", ["25", "27", "30", "02"]),
        ("FREQ=WEEKLY;INTERVAL=2;COUNT=2", ["25", "09"]),
        ("FREQ=MONTHLY;COUNT=2", ["25", "25"]),
        ("FREQ=DAILY;UNTIL=20201126T235959", ["25", "26"]),
    ],
)
def test_it_recurs_by_the_rule(rule: str | None, expected: list[str]) -> None:
    assert [f"{one.wall:%d}" for one in recurrence.occurrences(draft(rule, WEDNESDAY))] == expected


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "whenever",
        "FREQ=HOURLY",
        "FREQ=DAILY;BYHOUR=1,2,3",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=99999",
        "FREQ=DAILY;FREQ=DAILY",
        "FREQ=DAILY;UNTIL=20201126T235959Z",
        "FREQ=DAILY\nDTSTART:20200101T000000",
        "FREQ=WEEKLY;BYDAY=XX",
        "FREQ=DAILY;COUNT=x",
    ],
)
def test_it_refuses_what_is_no_rule(rule: str) -> None:
    with pytest.raises(InvalidInput):
        list(islice(recurrence.occurrences(draft(rule)), 1))


@given(
    first=LOCAL_TIMES,
    zone=st.sampled_from(ZONES),
    freq=st.sampled_from(["DAILY", "WEEKLY", "MONTHLY"]),
    interval=st.integers(1, 3),
)
def test_it_keeps_the_time_on_the_wall_across_daylight_saving(
    first: datetime, zone: str, freq: str, interval: int
) -> None:
    first = first.replace(second=0, microsecond=0)
    made = draft(f"FREQ={freq};INTERVAL={interval}", first, zone=zone)
    found = list(islice(recurrence.occurrences(made), 60))
    for one in found:
        assert one.wall.time() == first.time()
        seen = local_time.to_local(one.at, zone)
        assert seen == one.wall or seen > one.wall, "only a time that does not exist is moved, and onwards"
        assert seen == one.wall or local_time.to_local(one.at - timedelta(seconds=1), zone) < one.wall
    assert all(
        before.at < after.at or local_time.to_local(after.at, zone) > after.wall for before, after in pairwise(found)
    )
    again = list(islice(recurrence.occurrences(made, found[9].wall), 50))
    assert again == found[10:], "going on from the middle finds the same"


# --- what the worker does ---------------------------------------------------------------------------------------------


def test_it_sends_when_it_is_due_and_not_before(sender: Actor, database: Database) -> None:
    made = make(sender)
    assert schedule_runner.step(at(TEN) - timedelta(seconds=1)) == 0
    assert schedule_runner.step(at(TEN)) == 1
    assert sent(database) == [(PHONE, "Bom dia!")]
    assert schedule_runner.step(at(TEN) + timedelta(minutes=1)) == 0
    over = schedules.get_schedule(sender, made.id)
    assert (over.next, over.ended_at is not None) == (None, True)
    row = database.execute("select schedule_id, contact_name from messages")
    assert row == [(made.id, "Ana")]


def test_it_goes_on_to_the_next_one(sender: Actor, database: Database) -> None:
    made = make(sender, "FREQ=DAILY")
    for day in range(3):
        schedule_runner.step(at(TEN + timedelta(days=day)))
    assert len(sent(database)) == 3
    following = schedules.get_schedule(sender, made.id).next
    assert following is not None
    assert following.wall == TEN + timedelta(days=3)


def test_it_sends_late_within_the_grace_and_misses_what_is_later(sender: Actor, database: Database) -> None:
    make(sender, "FREQ=DAILY;COUNT=4")
    schedule_runner.step(at(TEN) + timedelta(days=2, minutes=15))
    assert len(sent(database)) == 1, "of three that were due the one that is late by no more than the grace"
    rows = database.execute("select local_time, state, reason from schedule_runs order by local_time")
    assert [(state, reason) for _wall, state, reason in rows] == [
        ("missed", "late"),
        ("missed", "late"),
        ("sent", None),
    ]
    schedule_runner.step(at(TEN) + timedelta(days=3, minutes=15, seconds=1))
    assert len(sent(database)) == 1


def test_it_waits_for_the_session_as_long_as_the_grace_lasts(sender: Actor, database: Database) -> None:
    make(sender)
    database.execute("update whatsapp_sessions set status = 'desconectado'")
    schedule_runner.step(at(TEN))
    schedule_runner.step(at(TEN) + timedelta(minutes=5))
    assert database.execute("select 1 from schedule_runs") == []
    database.execute("update whatsapp_sessions set status = 'conectado'")
    schedule_runner.step(at(TEN) + timedelta(minutes=6))
    assert len(sent(database)) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("update whatsapp_sessions set status = 'desconectado'", "disconnected"),
        ("update lanes set stopped_at = now()", "stopped"),
        ("delete from whatsapp_sessions", "disconnected"),
    ],
)
def test_it_misses_with_the_reason_what_nothing_could_be_sent_for(
    sender: Actor, database: Database, change: str, reason: str
) -> None:
    make(sender)
    database.execute(change)
    schedule_runner.step(at(TEN))
    schedule_runner.step(at(TEN) + timedelta(minutes=16))
    assert database.execute("select state, reason from schedule_runs") == [("missed", reason)]
    assert sent(database) == []


def test_it_happens_once_with_many_workers(sender: Actor, database: Database) -> None:
    for _ in range(10):
        make(sender, "FREQ=DAILY")
    with ThreadPoolExecutor(6) as workers:
        list(workers.map(lambda _: schedule_runner.step(at(TEN)), range(30)))
    assert len(sent(database)) == 10


def test_it_happens_once_where_a_worker_died_after_it_claimed(
    sender: Actor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(sender)
    with monkeypatch.context() as patch:
        patch.setattr(schedule_runner, "_run_schedule", lambda *_: None)
        assert schedule_runner.step(at(TEN)) == 1
    assert schedule_runner.step(at(TEN) + timedelta(seconds=4)) == 0
    assert schedule_runner.step(at(TEN) + timedelta(seconds=5)) == 1
    schedule_runner.step(at(TEN) + timedelta(seconds=60))
    assert len(sent(database)) == 1


def test_it_leaves_out_who_asked_for_silence(sender: Actor, database: Database) -> None:
    make(sender, to=(ScheduleRecipient(PHONE), ScheduleRecipient(OTHER)))
    opt_outs.add(sender, PHONE.replace("119", "11"))
    schedule_runner.step(at(TEN))
    assert sent(database) == [(OTHER, "Bom dia!")]
    assert database.execute("select state, left_out from schedule_runs") == [("sent", 1)]


def test_its_owner_learns_who_asked_for_silence_when_it_is_made(sender: Actor) -> None:
    opt_outs.add(sender, OTHER)
    made = make(sender, to=(ScheduleRecipient(PHONE), ScheduleRecipient(OTHER)))
    assert made.silenced == (OTHER,)
    assert schedules.get_schedule(sender, made.id).silenced == (OTHER,)
    opt_outs.end(sender, OTHER, "falava da consulta")
    assert [one.silenced for one in schedules.list_schedules(sender)] == [()]


def test_it_sends_nothing_where_all_asked_for_silence(sender: Actor, database: Database) -> None:
    make(sender)
    opt_outs.add(sender, PHONE)
    schedule_runner.step(at(TEN))
    assert database.execute("select state, reason from schedule_runs") == [("skipped", "opted_out")]
    assert sent(database) == []


def test_it_fills_the_version_of_the_template_that_it_was_made_with(sender: Actor, database: Database) -> None:
    template = templates.save(
        sender, template_content.TemplateDraft("Lembrete", "Oi, {{nome}}: {{hora}}!", defaults={"hora": None})
    )
    to = (ScheduleRecipient(PHONE, "Ana", {"hora": "às 14"}), ScheduleRecipient(OTHER, "Bia", {"hora": "às 15"}))
    make(sender, content=None, template_id=template.id, template_version=1, to=to)
    templates.save(sender, replace(template.draft, body="Mudou, {{hora}}"), template.id)
    schedule_runner.step(at(TEN))
    assert sent(database) == [(PHONE, "Oi, Ana: às 14!"), (OTHER, "Oi, Bia: às 15!")]
    assert database.execute("select distinct template_id, template_version from messages") == [(template.id, 1)]


# --- what a person does -----------------------------------------------------------------------------------------------


def test_it_is_held_and_goes_on_without_making_up(sender: Actor, database: Database) -> None:
    made = make(sender, "FREQ=DAILY")
    assert schedules.set_paused(sender, made.id, on=True).paused_at is not None
    assert schedule_runner.step(at(TEN) + timedelta(days=1)) == 0
    going = schedules.set_paused(sender, made.id, on=False, now=at(TEN) + timedelta(days=1, minutes=1))
    assert going.next is not None
    assert going.next.wall == TEN + timedelta(days=2)
    schedule_runner.step(at(TEN) + timedelta(days=2))
    assert len(sent(database)) == 1


def test_it_skips_one_and_takes_it_back(sender: Actor, database: Database) -> None:
    made = make(sender, "FREQ=DAILY")
    tomorrow = TEN + timedelta(days=1)
    schedules.set_skipped(sender, made.id, tomorrow)
    shown = schedules.list_upcoming(sender, made)
    assert [one.skipped for one in shown] == [False, True, *[False] * 8]
    schedule_runner.step(at(TEN))
    schedule_runner.step(at(tomorrow))
    assert len(sent(database)) == 1
    schedules.set_skipped(sender, made.id, TEN + timedelta(days=2))
    schedules.set_skipped(sender, made.id, TEN + timedelta(days=2), on=False)
    schedule_runner.step(at(TEN + timedelta(days=2)))
    assert len(sent(database)) == 2
    with pytest.raises(NotFound):
        schedules.set_skipped(sender, made.id, TEN + timedelta(hours=1))


def test_it_is_changed_from_now_on(sender: Actor, database: Database) -> None:
    made = make(sender, "FREQ=DAILY")
    schedule_runner.step(at(TEN))
    later = at(TEN) + timedelta(hours=1)
    noon = TEN.replace(hour=12)
    changed = schedules.change(sender, made.id, draft("FREQ=DAILY", noon, content=Content(body="Boa tarde!")), later)
    assert changed.next is not None
    assert changed.next.wall == noon
    schedule_runner.step(at(noon))
    assert [body for _phone, body in sent(database)] == ["Bom dia!", "Boa tarde!"]


def test_a_change_does_not_wake_one_that_is_held(sender: Actor, database: Database) -> None:
    made = make(sender)
    schedules.set_paused(sender, made.id, on=True)
    schedules.change(sender, made.id, draft(first=TEN + timedelta(hours=1)), NOW)
    schedule_runner.step(at(TEN) + timedelta(hours=1))
    assert sent(database) == []


def test_it_ends(sender: Actor, database: Database) -> None:
    made = make(sender, "FREQ=DAILY")
    schedules.end(sender, made.id)
    assert schedule_runner.step(at(TEN)) == 0
    assert schedules.list_schedules(sender) == []
    assert [one.id for one in schedules.list_schedules(sender, ended=True)] == [made.id]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"first": TEN - timedelta(days=1)}, MomentPassed),
        ({"rule": f"FREQ=DAILY;UNTIL={NOW - timedelta(days=24):%Y%m%dT000000}", "first": TEN - timedelta(days=60)},
         MomentPassed),
        ({"zone": "Mars/Base"}, InvalidInput),
        ({"name": "  "}, InvalidInput),
        ({"to": ()}, InvalidInput),
        ({"to": tuple(ScheduleRecipient(str(5511980000000 + n)) for n in range(101))}, InvalidInput),
        ({"to": (ScheduleRecipient("123"),)}, InvalidInput),
        ({"content": Content(body="  ")}, EmptyMessage),
        ({"content": None}, EmptyMessage),
        ({"content": None, "template_id": UUID(int=1), "template_version": 1}, NotFound),
    ],
)  # fmt: skip
def test_it_refuses_what_could_never_be_sent(sender: Actor, change: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        schedules.create(sender, replace(draft(), **change), NOW)  # type: ignore[arg-type]
    assert schedules.list_schedules(sender) == []


def test_it_refuses_a_template_that_lacks_a_value_at_once(sender: Actor) -> None:
    template = templates.save(
        sender, template_content.TemplateDraft("L", "{{nome}}: {{hora}}", defaults={"hora": None})
    )
    with pytest.raises(MissingVariable):
        make(sender, content=None, template_id=template.id, template_version=1)


def test_it_writes_to_a_line_once_however_it_is_listed(sender: Actor, database: Database) -> None:
    make(sender, to=(ScheduleRecipient(PHONE, "Ana"), ScheduleRecipient("551187654321", "Ana de novo")))
    schedule_runner.step(at(TEN))
    assert sent(database) == [(PHONE, "Bom dia!")]


def test_a_double_click_makes_one(sender: Actor) -> None:
    key = UUID(int=7)
    assert schedules.create(sender, draft(), NOW, key) == schedules.create(sender, draft(), NOW, key)
    assert len(schedules.list_schedules(sender)) == 1


def test_it_writes_to_a_group(sender: Actor, database: Database) -> None:
    make(sender, to=(ScheduleRecipient("120363000000000000@g.us"),))
    schedule_runner.step(at(TEN))
    assert sent(database) == [("120363000000000000@g.us", "Bom dia!")]


def test_it_shows_a_month_with_what_was_and_what_comes(sender: Actor) -> None:
    made = make(sender, "FREQ=DAILY;COUNT=5")
    schedule_runner.step(at(TEN))
    schedules.set_skipped(sender, made.id, TEN + timedelta(days=1))
    found = schedule_history.list_calendar(sender, at(TEN - timedelta(days=15)), at(TEN + timedelta(days=15)))
    assert [one.state for one in found] == [RunState.SENT, RunState.SKIPPED, None, None, None]
    assert [one.at for one in found] == sorted(one.at for one in found)


def test_it_is_its_owners_only(sender: Actor, new_actor: Callable[..., Actor]) -> None:
    made, other = make(sender), new_actor()
    for call in (
        lambda: schedules.get_schedule(other, made.id),
        lambda: schedules.set_paused(other, made.id, on=True),
        lambda: schedules.end(other, made.id),
        lambda: schedules.change(other, made.id, draft(), NOW),
        lambda: schedules.set_skipped(other, made.id, TEN),
    ):
        with pytest.raises(NotFound):
            call()


def test_it_knows_how_long_it_may_sleep(sender: Actor) -> None:
    assert schedule_runner.next_due_in() is None
    wall = local_time.to_local(datetime.now(UTC), ZONE).replace(second=0, microsecond=0) + timedelta(minutes=10)
    schedules.create(sender, draft(first=wall))
    seconds = schedule_runner.next_due_in()
    assert seconds is not None
    assert 480 < seconds <= 600


def test_it_finds_what_is_due_by_its_index(sender: Actor, database: Database) -> None:
    database.execute(
        "insert into schedules (user_id, name, time_zone, first_local_time, recipients, next_local_time, next_at,"
        " next_check_at)"
        " select %s, 'x', 'UTC', now(), '[]', now(), now() + n * interval '1 min', now() + n * interval '1 min'"
        " from generate_series(1, 20000) n; analyze schedules".replace("%s", f"'{sender.user_id}'")
    )
    plan = database.execute(
        "explain select id from schedules where next_check_at <= now()"
        " order by next_check_at limit 20 for update skip locked"
    )
    assert "schedules_due" in str(plan)
