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

from services import optouts, schedules, templates, wallclock
from services.db.actor import Actor
from services.errors import EmptyMessage, InvalidInput, MissingVariable, MomentPassed, NotFound
from services.messages import Content
from services.schedules import Draft, RunState, Schedule, To
from tests import days
from tests.conftest import Database, connected
from tests.services.test_wallclock import WALLS, ZONES

ZONE = "America/Sao_Paulo"
PHONE, OTHER = "5511987654321", "5521987654321"
# A Wednesday to come, ten o'clock in São Paulo: the database lets nobody take back what is past.
TEN = datetime.combine(days.coming(2), time(10))
NOW = wallclock.instant(TEN - timedelta(hours=1), ZONE)
# For what knows no clock.
WEDNESDAY = datetime(2020, 11, 25, 10, 0)


def draft(rule: str | None = None, first: datetime = TEN, **other: object) -> Draft:
    made = Draft("Lembrete", ZONE, first, rule, (To(PHONE, "Ana"),), Content(body="Bom dia!"))
    return replace(made, **other)  # type: ignore[arg-type]


@pytest.fixture
def sender(user: Actor, database: Database) -> Actor:
    connected(database, user)
    return user


def make(actor: Actor, rule: str | None = None, first: datetime = TEN, **other: object) -> Schedule:
    return schedules.create(actor, draft(rule, first, **other), NOW)


def at(wall: datetime) -> datetime:
    return wallclock.instant(wall, ZONE)


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
    assert [f"{one.wall:%d}" for one in schedules.occurrences(draft(rule, WEDNESDAY))] == expected


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
        list(islice(schedules.occurrences(draft(rule)), 1))


@given(
    first=WALLS,
    zone=st.sampled_from(ZONES),
    freq=st.sampled_from(["DAILY", "WEEKLY", "MONTHLY"]),
    interval=st.integers(1, 3),
)
def test_it_keeps_the_time_on_the_wall_across_daylight_saving(
    first: datetime, zone: str, freq: str, interval: int
) -> None:
    first = first.replace(second=0, microsecond=0)
    made = draft(f"FREQ={freq};INTERVAL={interval}", first, zone=zone)
    found = list(islice(schedules.occurrences(made), 60))
    for one in found:
        assert one.wall.time() == first.time()
        seen = wallclock.shown(one.at, zone)
        assert seen == one.wall or seen > one.wall, "only a time that does not exist is moved, and onwards"
        assert seen == one.wall or wallclock.shown(one.at - timedelta(seconds=1), zone) < one.wall
    assert all(
        before.at < after.at or wallclock.shown(after.at, zone) > after.wall for before, after in pairwise(found)
    )
    again = list(islice(schedules.occurrences(made, found[9].wall), 50))
    assert again == found[10:], "going on from the middle finds the same"


# --- what the worker does ---------------------------------------------------------------------------------------------


def test_it_sends_when_it_is_due_and_not_before(sender: Actor, database: Database) -> None:
    made = make(sender)
    assert schedules.step(at(TEN) - timedelta(seconds=1)) == 0
    assert schedules.step(at(TEN)) == 1
    assert sent(database) == [(PHONE, "Bom dia!")]
    assert schedules.step(at(TEN) + timedelta(minutes=1)) == 0
    over = schedules.get(sender, made.id)
    assert (over.next, over.ended_at is not None) == (None, True)
    row = database.execute("select schedule_id, contact_name from messages")
    assert row == [(made.id, "Ana")]


def test_it_goes_on_to_the_next_one(sender: Actor, database: Database) -> None:
    made = make(sender, "FREQ=DAILY")
    for day in range(3):
        schedules.step(at(TEN + timedelta(days=day)))
    assert len(sent(database)) == 3
    following = schedules.get(sender, made.id).next
    assert following is not None
    assert following.wall == TEN + timedelta(days=3)


def test_it_sends_late_within_the_grace_and_misses_what_is_later(sender: Actor, database: Database) -> None:
    make(sender, "FREQ=DAILY;COUNT=4")
    schedules.step(at(TEN) + timedelta(days=2, minutes=15))
    assert len(sent(database)) == 1, "of three that were due the one that is late by no more than the grace"
    rows = database.execute("select wall, state, reason from schedule_runs order by wall")
    assert [(state, reason) for _wall, state, reason in rows] == [
        ("missed", "late"),
        ("missed", "late"),
        ("sent", None),
    ]
    schedules.step(at(TEN) + timedelta(days=3, minutes=15, seconds=1))
    assert len(sent(database)) == 1


def test_it_waits_for_the_session_as_long_as_the_grace_lasts(sender: Actor, database: Database) -> None:
    make(sender)
    database.execute("update whatsapp_sessions set status = 'desconectado'")
    schedules.step(at(TEN))
    schedules.step(at(TEN) + timedelta(minutes=5))
    assert database.execute("select 1 from schedule_runs") == []
    database.execute("update whatsapp_sessions set status = 'conectado'")
    schedules.step(at(TEN) + timedelta(minutes=6))
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
    schedules.step(at(TEN))
    schedules.step(at(TEN) + timedelta(minutes=16))
    assert database.execute("select state, reason from schedule_runs") == [("missed", reason)]
    assert sent(database) == []


def test_it_happens_once_with_many_workers(sender: Actor, database: Database) -> None:
    for _ in range(10):
        make(sender, "FREQ=DAILY")
    with ThreadPoolExecutor(6) as workers:
        list(workers.map(lambda _: schedules.step(at(TEN)), range(30)))
    assert len(sent(database)) == 10


def test_it_happens_once_where_a_worker_died_after_it_claimed(
    sender: Actor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(sender)
    with monkeypatch.context() as patch:
        patch.setattr(schedules, "_serve", lambda *_: None)
        assert schedules.step(at(TEN)) == 1
    assert schedules.step(at(TEN) + timedelta(seconds=4)) == 0
    assert schedules.step(at(TEN) + timedelta(seconds=5)) == 1
    schedules.step(at(TEN) + timedelta(seconds=60))
    assert len(sent(database)) == 1


def test_it_leaves_out_who_asked_for_silence(sender: Actor, database: Database) -> None:
    make(sender, to=(To(PHONE), To(OTHER)))
    optouts.add(sender, PHONE.replace("119", "11"))
    schedules.step(at(TEN))
    assert sent(database) == [(OTHER, "Bom dia!")]
    assert database.execute("select state, left_out from schedule_runs") == [("sent", 1)]


def test_it_sends_nothing_where_all_asked_for_silence(sender: Actor, database: Database) -> None:
    make(sender)
    optouts.add(sender, PHONE)
    schedules.step(at(TEN))
    assert database.execute("select state, reason from schedule_runs") == [("skipped", "opted_out")]
    assert sent(database) == []


def test_it_fills_the_version_of_the_template_that_it_was_made_with(sender: Actor, database: Database) -> None:
    template = templates.save(sender, templates.Draft("Lembrete", "Oi, {{nome}}: {{hora}}!", defaults={"hora": None}))
    to = (To(PHONE, "Ana", {"hora": "às 14"}), To(OTHER, "Bia", {"hora": "às 15"}))
    make(sender, content=None, template_id=template.id, template_version=1, to=to)
    templates.save(sender, replace(template.draft, body="Mudou, {{hora}}"), template.id)
    schedules.step(at(TEN))
    assert sent(database) == [(PHONE, "Oi, Ana: às 14!"), (OTHER, "Oi, Bia: às 15!")]
    assert database.execute("select distinct template_id, template_version from messages") == [(template.id, 1)]


# --- what a person does -----------------------------------------------------------------------------------------------


def test_it_is_held_and_goes_on_without_making_up(sender: Actor, database: Database) -> None:
    made = make(sender, "FREQ=DAILY")
    assert schedules.pause(sender, made.id, on=True).paused_at is not None
    assert schedules.step(at(TEN) + timedelta(days=1)) == 0
    going = schedules.pause(sender, made.id, on=False, now=at(TEN) + timedelta(days=1, minutes=1))
    assert going.next is not None
    assert going.next.wall == TEN + timedelta(days=2)
    schedules.step(at(TEN) + timedelta(days=2))
    assert len(sent(database)) == 1


def test_it_skips_one_and_takes_it_back(sender: Actor, database: Database) -> None:
    made = make(sender, "FREQ=DAILY")
    tomorrow = TEN + timedelta(days=1)
    schedules.skip(sender, made.id, tomorrow)
    shown = schedules.upcoming(sender, made)
    assert [one.skipped for one in shown] == [False, True, *[False] * 8]
    schedules.step(at(TEN))
    schedules.step(at(tomorrow))
    assert len(sent(database)) == 1
    schedules.skip(sender, made.id, TEN + timedelta(days=2))
    schedules.skip(sender, made.id, TEN + timedelta(days=2), on=False)
    schedules.step(at(TEN + timedelta(days=2)))
    assert len(sent(database)) == 2
    with pytest.raises(NotFound):
        schedules.skip(sender, made.id, TEN + timedelta(hours=1))


def test_it_is_changed_from_now_on(sender: Actor, database: Database) -> None:
    made = make(sender, "FREQ=DAILY")
    schedules.step(at(TEN))
    later = at(TEN) + timedelta(hours=1)
    noon = TEN.replace(hour=12)
    changed = schedules.change(sender, made.id, draft("FREQ=DAILY", noon, content=Content(body="Boa tarde!")), later)
    assert changed.next is not None
    assert changed.next.wall == noon
    schedules.step(at(noon))
    assert [body for _phone, body in sent(database)] == ["Bom dia!", "Boa tarde!"]


def test_a_change_does_not_wake_one_that_is_held(sender: Actor, database: Database) -> None:
    made = make(sender)
    schedules.pause(sender, made.id, on=True)
    schedules.change(sender, made.id, draft(first=TEN + timedelta(hours=1)), NOW)
    schedules.step(at(TEN) + timedelta(hours=1))
    assert sent(database) == []


def test_it_ends(sender: Actor, database: Database) -> None:
    made = make(sender, "FREQ=DAILY")
    schedules.end(sender, made.id)
    assert schedules.step(at(TEN)) == 0
    assert schedules.mine(sender) == []
    assert [one.id for one in schedules.mine(sender, ended=True)] == [made.id]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"first": TEN - timedelta(days=1)}, MomentPassed),
        ({"rule": f"FREQ=DAILY;UNTIL={NOW - timedelta(days=24):%Y%m%dT000000}", "first": TEN - timedelta(days=60)},
         MomentPassed),
        ({"zone": "Mars/Base"}, InvalidInput),
        ({"name": "  "}, InvalidInput),
        ({"to": ()}, InvalidInput),
        ({"to": tuple(To(str(5511980000000 + n)) for n in range(101))}, InvalidInput),
        ({"to": (To("123"),)}, InvalidInput),
        ({"content": Content(body="  ")}, EmptyMessage),
        ({"content": None}, EmptyMessage),
        ({"content": None, "template_id": UUID(int=1), "template_version": 1}, NotFound),
    ],
)  # fmt: skip
def test_it_refuses_what_could_never_be_sent(sender: Actor, change: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        schedules.create(sender, replace(draft(), **change), NOW)  # type: ignore[arg-type]
    assert schedules.mine(sender) == []


def test_it_refuses_a_template_that_lacks_a_value_at_once(sender: Actor) -> None:
    template = templates.save(sender, templates.Draft("L", "{{nome}}: {{hora}}", defaults={"hora": None}))
    with pytest.raises(MissingVariable):
        make(sender, content=None, template_id=template.id, template_version=1)


def test_it_writes_to_a_line_once_however_it_is_listed(sender: Actor, database: Database) -> None:
    make(sender, to=(To(PHONE, "Ana"), To("551187654321", "Ana de novo")))
    schedules.step(at(TEN))
    assert sent(database) == [(PHONE, "Bom dia!")]


def test_a_double_click_makes_one(sender: Actor) -> None:
    key = UUID(int=7)
    assert schedules.create(sender, draft(), NOW, key) == schedules.create(sender, draft(), NOW, key)
    assert len(schedules.mine(sender)) == 1


def test_it_writes_to_a_group(sender: Actor, database: Database) -> None:
    make(sender, to=(To("120363000000000000@g.us"),))
    schedules.step(at(TEN))
    assert sent(database) == [("120363000000000000@g.us", "Bom dia!")]


def test_it_shows_a_month_with_what_was_and_what_comes(sender: Actor) -> None:
    made = make(sender, "FREQ=DAILY;COUNT=5")
    schedules.step(at(TEN))
    schedules.skip(sender, made.id, TEN + timedelta(days=1))
    found = schedules.between(sender, at(TEN - timedelta(days=15)), at(TEN + timedelta(days=15)))
    assert [one.state for one in found] == [RunState.SENT, RunState.SKIPPED, None, None, None]
    assert [one.at for one in found] == sorted(one.at for one in found)


def test_it_is_its_owners_only(sender: Actor, new_actor: Callable[..., Actor]) -> None:
    made, other = make(sender), new_actor()
    for call in (
        lambda: schedules.get(other, made.id),
        lambda: schedules.pause(other, made.id, on=True),
        lambda: schedules.end(other, made.id),
        lambda: schedules.change(other, made.id, draft(), NOW),
        lambda: schedules.skip(other, made.id, TEN),
    ):
        with pytest.raises(NotFound):
            call()


def test_it_knows_how_long_it_may_sleep(sender: Actor) -> None:
    assert schedules.next_due_in() is None
    wall = wallclock.shown(datetime.now(UTC), ZONE).replace(second=0, microsecond=0) + timedelta(minutes=10)
    schedules.create(sender, draft(first=wall))
    seconds = schedules.next_due_in()
    assert seconds is not None
    assert 480 < seconds <= 600


def test_it_finds_what_is_due_by_its_index(sender: Actor, database: Database) -> None:
    database.execute(
        "insert into schedules (user_id, name, zone, first_wall, recipients, next_wall, next_at, look_at)"
        " select %s, 'x', 'UTC', now(), '[]', now(), now() + n * interval '1 min', now() + n * interval '1 min'"
        " from generate_series(1, 20000) n; analyze schedules".replace("%s", f"'{sender.user_id}'")
    )
    plan = database.execute(
        "explain select id from schedules where look_at <= now() order by look_at limit 20 for update skip locked"
    )
    assert "schedules_due" in str(plan)
