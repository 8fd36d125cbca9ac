"""When the next message of a campaign may leave: hours, the day's allowance, a young number, strangers, the pace."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.outreach import pacing
from services.outreach.pacing import JITTER, Allowed, Queue, Rules, Usage, Wait, WaitReason, Warmup
from services.platform import local_time
from tests.services.platform.test_local_time import ZONES

ZONE = "America/Sao_Paulo"
RULES = Rules(ZONE, time(8), time(20), cap=400, cold_share=1, pace=10, warmup=Warmup(0, 1))
DAY = date(2020, 11, 25)
ONE, TWO = UUID(int=1), UUID(int=2)


def at(hour: int, minute: int = 0, day: int = 25) -> datetime:
    return local_time.to_utc(datetime(2020, 11, day, hour, minute), ZONE)


def ask(
    now: datetime, rules: Rules = RULES, spent: Usage | None = None, *, warm: bool = True, cold: bool = True
) -> object:
    return pacing.next_send_decision(rules, now, now, spent or Usage(), warm_waiting=warm, cold_waiting=True)


def people(count: int, cold: int = 0) -> list[tuple[int, bool]]:
    """The first ones cold."""
    return [(seq, seq <= cold) for seq in range(1, count + 1)]


def test_it_keeps_to_its_hours() -> None:
    assert ask(at(7, 59)) == Wait(at(8), WaitReason.QUIET)
    assert ask(at(8)) == Allowed(warm_only=False)
    assert ask(at(20)) == Wait(at(8, day=26), WaitReason.QUIET)
    assert ask(at(23), replace(RULES, closes=time.min)) == Allowed(warm_only=False)


def test_it_rests_between_two() -> None:
    found = pacing.next_send_decision(RULES, at(9), at(9, 1), Usage(), warm_waiting=True, cold_waiting=False)
    assert found == Wait(at(9, 1), WaitReason.PACE)


def test_it_keeps_to_the_days_allowance() -> None:
    assert ask(at(9), spent=Usage(399)) == Allowed(warm_only=False)
    assert ask(at(9), spent=Usage(400)) == Wait(at(0, day=26), WaitReason.CAP)


def test_it_keeps_strangers_to_their_share() -> None:
    rules = replace(RULES, cold_share=0.5)
    assert ask(at(9), rules, Usage(250, 200)) == Allowed(warm_only=True)
    assert ask(at(9), rules, Usage(250, 200), warm=False) == Wait(at(0, day=26), WaitReason.COLD)


@pytest.mark.parametrize(("age", "allowance"), [(0, 20), (1, 24), (7, 89), (13, 322), (14, 400), (400, 400)])
def test_it_lets_a_young_number_grow(age: int, allowance: int) -> None:
    rules = replace(RULES, warmup=Warmup(14, 20), warmup_started_at=at(15))
    assert rules.allowance(DAY + timedelta(days=age)) == allowance


def test_it_never_takes_a_number_for_younger_than_new() -> None:
    rules = replace(RULES, warmup=Warmup(14, 20), warmup_started_at=at(15, day=28))
    assert rules.allowance(DAY) == 20
    assert replace(rules, cap=5).allowance(DAY) == 5


@given(key=st.text())
def test_its_gaps_are_uneven_and_always_the_same(key: str) -> None:
    gap = RULES.gap(key).total_seconds() / RULES.pace
    assert JITTER[0] <= gap <= JITTER[1]
    assert RULES.gap(key) == RULES.gap(key)


@given(
    moment=st.datetimes(datetime(2015, 1, 1), datetime(2024, 12, 31)).map(lambda naive: naive.replace(tzinfo=UTC)),
    zone=st.sampled_from(ZONES),
    hours=st.tuples(st.integers(0, 11), st.integers(12, 23)),
)
def test_it_waits_for_hours_that_begin(moment: datetime, zone: str, hours: tuple[int, int]) -> None:
    rules = replace(RULES, zone=zone, opens=time(hours[0]), closes=time(hours[1]))
    opening = rules.opening(moment)
    assert moment < opening <= moment + timedelta(hours=50)
    assert rules.is_open(opening)


# --- the forecast -----------------------------------------------------------------------------------------------------


def test_it_foretells_the_end_and_what_is_over_the_cap() -> None:
    queue = Queue(ONE, RULES, people(412))
    found = pacing.forecast([queue], ONE, at(9), at(9), {DAY: Usage()})
    assert (found.total, found.over_today) == (412, 12)
    assert found.days == {DAY: 400, DAY + timedelta(days=1): 12}
    assert found.starts_at == at(9)
    assert found.ends_at is not None
    assert at(8, day=26) <= found.ends_at < at(8, 5, day=26)


def test_it_counts_what_left_today_and_what_is_before_it() -> None:
    queues = [Queue(ONE, RULES, people(100)), Queue(TWO, RULES, people(200))]
    found = pacing.forecast(queues, TWO, at(9), at(9), {DAY: Usage(150)})
    assert found.over_today == 50
    assert found.days == {DAY: 150, DAY + timedelta(days=1): 50}
    assert found.starts_at is not None
    assert found.starts_at > at(9) + timedelta(seconds=100 * 7)


def test_it_takes_who_knows_the_sender_before_strangers_once_their_share_is_spent() -> None:
    rules = replace(RULES, cap=4, cold_share=0.5)
    order = [one.seq for one in pacing.simulate([Queue(ONE, rules, people(6, cold=4))], at(9), at(9), {})]
    assert order == [1, 2, 5, 6, 3, 4]


def test_it_says_so_where_it_cannot_end() -> None:
    queue = Queue(ONE, replace(RULES, cold_share=0), people(3, cold=2))
    found = pacing.forecast([queue], ONE, at(9), at(9), {})
    assert (found.ends_at, sum(found.days.values())) == (None, 1)


@given(
    count=st.integers(1, 60),
    cap=st.integers(1, 12),
    share=st.sampled_from([0.25, 0.5, 1.0]),
    warmup=st.builds(Warmup, st.integers(0, 5), st.integers(1, 4)),
    start=st.integers(0, 60 * 48),
)
def test_a_forecast_breaks_no_rule(count: int, cap: int, share: float, warmup: Warmup, start: int) -> None:
    now = at(0) + timedelta(minutes=start)
    rules = replace(RULES, cap=cap, cold_share=share, pace=900, warmup=warmup, warmup_started_at=now)
    queue = Queue(ONE, rules, people(count, cold=count // 2))
    found = list(pacing.simulate([queue], now, now, {}))
    days = [local_time.to_local(one.at, ZONE).date() for one in found]
    assert all(rules.is_open(one.at) for one in found)
    assert all(days.count(day) <= rules.allowance(day) for day in days)
    cold = {seq for seq, is_cold in queue.waiting if is_cold}
    for day in days:
        strangers = [one for one, on in zip(found, days, strict=True) if on == day and one.seq in cold]
        assert len(strangers) <= rules.cold_allowance(day)
    assert len({one.seq for one in found}) == len(found)
    assert all(later.at - one.at >= timedelta(seconds=630) for one, later in pairwise(found))


def test_ten_thousand_are_foretold_while_one_looks() -> None:
    rules = replace(RULES, cap=2000)
    began = datetime.now(UTC)
    found = pacing.forecast([Queue(ONE, rules, people(10_000, cold=5000))], ONE, at(9), at(9), {})
    assert len(found.days) == 5
    assert datetime.now(UTC) - began < timedelta(seconds=3)
