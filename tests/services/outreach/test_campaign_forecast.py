"""When a campaign will end, and that no forecast breaks a rule; `test_campaign_release` holds it to what is sent."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from services.messaging.pace import JITTER
from services.outreach.campaign_forecast import Forecast, Queue, forecast, simulate
from services.outreach.pacing import Release, Rules, Sender, Usage, Warmup
from services.outreach.restriction import UNRESTRICTED, Restriction
from services.platform import local_time
from tests.support.local_times import SAO_PAULO

RULES = Rules(SAO_PAULO, time(8), time(20), cap=400, cold_share=1, pace=10, warmup=Warmup(0, 1))
DAY = date(2020, 11, 25)
ONE, TWO = UUID(int=1), UUID(int=2)


def at(hour: int, minute: int = 0, day: int = 25) -> datetime:
    return local_time.to_utc(datetime(2020, 11, day, hour, minute), SAO_PAULO)


NINE = at(9)


def queue(campaign_id: UUID, rules: Rules, waiting: Sequence[tuple[int, bool]]) -> Queue:
    return Queue(campaign_id, NINE, rules, waiting)


def people(count: int, cold: int = 0) -> list[tuple[int, bool]]:
    """The first ones cold."""
    return [(seq, seq <= cold) for seq in range(1, count + 1)]


def foretell(queues: Sequence[Queue], campaign_id: UUID, used: Usage | None = None) -> Forecast:
    return forecast(queues, campaign_id, NINE, Sender(NINE, {DAY: used or Usage()}))


def test_it_foretells_the_end_and_what_is_over_the_cap() -> None:
    found = foretell([queue(ONE, RULES, people(412))], ONE)
    assert (found.total, found.over_today) == (412, 12)
    assert found.days == {DAY: 400, DAY + timedelta(days=1): 12}
    assert found.starts_at == NINE
    assert found.ends_at is not None
    assert at(8, day=26) <= found.ends_at < at(8, 5, day=26)


def test_it_counts_what_left_today_and_what_is_before_it() -> None:
    queues = [queue(TWO, RULES, people(200)), queue(ONE, RULES, people(100))]
    found = foretell(queues, TWO, Usage(150))
    assert found.over_today == 50
    assert found.days == {DAY: 150, DAY + timedelta(days=1): 50}
    assert found.starts_at is not None
    assert found.starts_at > NINE + timedelta(seconds=100 * 7)


def test_it_takes_who_knows_the_sender_before_strangers_once_their_share_is_spent() -> None:
    rules = replace(RULES, cap=4, cold_share=0.5)
    order = [one.seq for one in simulate([queue(ONE, rules, people(6, cold=4))], NINE, Sender(NINE, {}))]
    assert order == [1, 2, 5, 6, 3, 4]


def test_it_foretells_two_probes_before_strangers_go_on() -> None:
    restricted = Sender(NINE, {}, Restriction(3, at(8), at(8, 30), at(14, 30)))
    found = list(simulate([queue(ONE, RULES, people(7, cold=5))], NINE, restricted))
    assert [one.seq for one in found] == [6, 7, 1, 2, 3, 4, 5]
    hours = [local_time.to_local(one.at, SAO_PAULO) for one in found]
    assert [(one.day, one.hour) for one in hours[1:]] == [(25, 9), (25, 14), (26, 8), (26, 8), (26, 8), (26, 8)]


def test_it_says_so_where_it_cannot_end() -> None:
    found = foretell([queue(ONE, replace(RULES, cold_share=0), people(3, cold=2))], ONE)
    assert (found.ends_at, sum(found.days.values())) == (None, 1)


def test_ten_thousand_are_foretold_while_one_looks() -> None:
    rules = replace(RULES, cap=2000)
    began = datetime.now(UTC)
    found = foretell([queue(ONE, rules, people(10_000, cold=5000))], ONE)
    assert len(found.days) == 5
    assert datetime.now(UTC) - began < timedelta(seconds=3)


# --- whatever waits, and whatever the rules ---------------------------------------------------------------------------

RULES_OF_SOME_CAMPAIGN = st.builds(
    lambda opens, closes, **rest: replace(RULES, opens=time(opens), closes=time(closes % 24), **rest),
    opens=st.integers(0, 11),
    closes=st.integers(12, 24),
    cap=st.integers(1, 12),
    cold_share=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    pace=st.sampled_from([8.0, 900.0, 7200.0]),
    warmup=st.builds(Warmup, st.integers(0, 5), st.integers(1, 4)),
    warmup_started_at=st.one_of(st.none(), st.integers(0, 6).map(lambda days: NINE - timedelta(days=days))),
)
QUEUES = st.lists(
    st.tuples(
        RULES_OF_SOME_CAMPAIGN, st.lists(st.booleans(), min_size=1, max_size=15), st.integers(0, 3), st.integers(1, 9)
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda drawn: drawn[3],
).map(
    lambda drawn: [
        Queue(UUID(int=number), NINE - timedelta(hours=hours), rules, list(enumerate(cold, start=1)))
        for rules, cold, hours, number in drawn
    ]
)
RESTRICTIONS = st.one_of(
    st.just(UNRESTRICTED),
    st.builds(
        lambda hours, delivered: Restriction(3, NINE, NINE, NINE + timedelta(hours=hours), 0, delivered),
        hours=st.integers(-20, 60),
        delivered=st.integers(0, 1),
    ),
)
USED = st.integers(0, 10).flatmap(lambda total: st.builds(Usage, st.just(total), st.integers(0, total)))


@examples(max_examples=60, deadline=None)
@given(queues=QUEUES, used=USED, start=st.integers(0, 60 * 48), rest=st.integers(0, 7200), restriction=RESTRICTIONS)
def test_no_forecast_breaks_a_rule(
    queues: list[Queue], used: Usage, start: int, rest: int, restriction: Restriction
) -> None:
    """Hours, the day's allowance and strangers' share, over all campaigns; gaps; probes while WhatsApp refuses
    strangers; everybody once and in order.
    """
    now = at(0) + timedelta(minutes=start)
    today, available_at = local_time.to_local(now, SAO_PAULO).date(), now + timedelta(seconds=rest)
    releases = list(simulate(queues, now, Sender(available_at, {today: used}, restriction)))
    rules = {one.campaign_id: one.rules for one in queues}
    counted = {today: [used.total, used.cold]}
    for release in releases:
        own = rules[release.campaign_id]
        day = local_time.to_local(release.at, SAO_PAULO).date()
        sent = counted.setdefault(day, [0, 0])
        assert own.is_open(release.at)
        assert sent[0] < own.allowance(day)
        assert not release.cold or sent[1] < own.cold_allowance(day)
        sent[0] += 1
        sent[1] += release.cold
    assert all(release.at >= available_at for release in releases)
    for earlier, later in pairwise(releases):
        assert (later.at - earlier.at).total_seconds() >= rules[earlier.campaign_id].pace * JITTER[0]
    probes = [release.at for release in releases if release.cold]
    if restriction.probe_at is not None and probes:
        assert probes[0] >= restriction.probe_at
        assert restriction.delivered_probes or len(probes) == 1 or probes[1] - probes[0] >= timedelta(hours=6)
    for one in queues:
        assert_each_once_in_order(one, [release for release in releases if release.campaign_id == one.campaign_id])


def assert_each_once_in_order(asked: Queue, releases: Sequence[Release]) -> None:
    """Those who know the sender in their order, strangers in theirs; all of them, unless none of these may be sent."""
    for cold in (False, True):
        waiting = [seq for seq, is_cold in asked.waiting if is_cold is cold]
        left = [release.seq for release in releases if release.cold is cold]
        assert left == (waiting if asked.rules.cold_share or not cold else [])


@examples(max_examples=50, deadline=None)
@given(queues=QUEUES, start=st.integers(0, 60 * 48))
def test_no_campaign_is_passed_over(queues: list[Queue], start: int) -> None:
    """A campaign that was confirmed earlier, by the same rules, is through before a later one begins."""
    now = at(0) + timedelta(minutes=start)
    same = [replace(one, rules=replace(queues[0].rules, cold_share=1)) for one in queues]
    turns = [release.campaign_id for release in simulate(same, now, Sender(now, {}))]
    in_order = sorted(same, key=lambda one: (one.started_at, one.campaign_id))
    assert turns == [one.campaign_id for one in in_order for _ in one.waiting]
