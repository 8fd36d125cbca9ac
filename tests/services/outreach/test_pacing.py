"""When the next message of a campaign may leave: hours, the day's allowance, a young number, strangers, the pace."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.messaging.pace import JITTER
from services.outreach import pacing
from services.outreach.pacing import Allowed, QueueHead, Release, Rules, Sender, Usage, Wait, WaitReason, Warmup
from services.outreach.restriction import Restriction
from services.platform import local_time
from tests.support.local_times import ZONES

ZONE = "America/Sao_Paulo"
RULES = Rules(ZONE, time(8), time(20), cap=400, cold_share=1, pace=10, warmup=Warmup(0, 1))
DAY = date(2020, 11, 25)


def at(hour: int, minute: int = 0, day: int = 25) -> datetime:
    return local_time.to_utc(datetime(2020, 11, day, hour, minute), ZONE)


def ask(
    now: datetime, rules: Rules = RULES, spent: Usage | None = None, *, warm: bool = True, cold: bool = True
) -> object:
    return pacing.next_send_decision(rules, now, now, spent or Usage(), warm_waiting=warm, cold_waiting=True)


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


@pytest.mark.parametrize(
    ("warm", "now", "expected"),
    [
        (True, at(9), Allowed(warm_only=True)),
        (False, at(9), Wait(at(15), WaitReason.RESTRICTED)),
        (False, at(15), Allowed(warm_only=False)),
    ],
)
def test_strangers_wait_while_whatsapp_refuses_them(warm: bool, now: datetime, expected: object) -> None:
    found = pacing.next_send_decision(RULES, now, now, Usage(), warm_waiting=warm, cold_waiting=True, cold_after=at(15))
    assert found == expected


def test_a_probe_of_the_night_waits_for_the_hours() -> None:
    found = pacing.next_send_decision(
        RULES, at(19), at(19), Usage(), warm_waiting=False, cold_waiting=True, cold_after=at(1, day=26)
    )
    assert found == Wait(at(8, day=26), WaitReason.RESTRICTED)


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


# --- whose turn it is -------------------------------------------------------------------------------------------------


def head(number: int, warm: int | None, cold: int | None, rules: Rules = RULES) -> QueueHead:
    """The campaign that was confirmed as the `number`th."""
    return QueueHead(UUID(int=number), at(0, number), rules, warm, cold)


def step(*heads: QueueHead, usage: Usage | None = None, rested_at: datetime | None = None) -> Release | Wait | None:
    return pacing.next_step(heads, at(9), Sender(rested_at or at(9), {DAY: usage or Usage()}))


def test_the_first_confirmed_goes_first_and_in_it_the_first_in_its_list() -> None:
    release = step(head(2, 1, None), head(1, 3, 2))
    assert isinstance(release, Release)
    assert (release.campaign_id, release.seq, release.cold, release.at) == (UUID(int=1), 2, True, at(9))


def test_a_campaign_that_must_wait_lets_the_next_one_go() -> None:
    later = replace(RULES, opens=time(12))
    release = step(head(1, 1, None, later), head(2, 1, None))
    assert isinstance(release, Release)
    assert release.campaign_id == UUID(int=2)


def test_it_waits_for_the_first_that_may_go() -> None:
    late, later = replace(RULES, opens=time(12)), replace(RULES, opens=time(13))
    assert step(head(1, 1, None, later), head(2, 1, None, late)) == Wait(at(12), WaitReason.QUIET)
    assert step(head(1, 1, None), rested_at=at(9, 1)) == Wait(at(9, 1), WaitReason.PACE)


def test_it_passes_over_strangers_once_their_share_is_used() -> None:
    rules = replace(RULES, cold_share=0.5)
    release = step(head(1, 7, 3, rules), usage=Usage(250, 200))
    assert isinstance(release, Release)
    assert (release.seq, release.cold) == (7, False)


def test_it_has_nothing_to_do_where_nobody_waits() -> None:
    assert step() is None
    assert step(head(1, None, None)) is None


def test_a_release_counts_on_its_day_and_makes_the_number_rest() -> None:
    sender = Sender(at(9), {DAY: Usage(3, 1)})
    release = pacing.next_step([head(1, None, 5)], at(9), sender)
    assert isinstance(release, Release)
    after = sender.after(release)
    assert after.used_on(DAY) == Usage(4, 2)
    assert after.used_on(DAY + timedelta(days=1)) == Usage()
    assert after.available_at == at(9) + RULES.gap(pacing.release_key(UUID(int=1), 5))


def test_a_restricted_sender_sends_one_probe_and_then_waits_again() -> None:
    restriction = Restriction(3, at(1), at(2), at(8))
    sender = Sender(at(9), {}, restriction)
    release = pacing.next_step([head(1, None, 5)], at(9), sender)
    assert isinstance(release, Release)
    after = sender.after(release)
    assert after.cold_after == at(15)
    assert after.after_delivery(release).cold_after == at(15)
    again = pacing.next_step([head(1, None, 6)], at(15), after.after_delivery(release))
    assert isinstance(again, Release)
    assert after.after_delivery(release).after(again).after_delivery(again).cold_after is None
