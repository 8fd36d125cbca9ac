"""Campaigns write to nobody twice, whoever dies, and release what was foretold."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from services.contacts import opt_outs
from services.db.actor import SYSTEM, Actor, Role
from services.db.engine import transaction
from services.errors import Conflict
from services.messaging.pace import JITTER
from services.outreach import (
    campaign_forecast,
    campaign_release,
    campaign_restriction,
    campaign_rules,
    campaigns,
    template_content,
    templates,
)
from services.outreach.campaign_rules import Pacing
from services.outreach.pacing import Sender
from services.outreach.restriction import UNRESTRICTED, Restriction
from services.outreach.template_content import Template
from services.platform import local_time
from tests.support.campaigns import TEN, CampaignClock, begin_campaign, list_released, make_recipients
from tests.support.databases import Database
from tests.support.local_times import SAO_PAULO
from tests.support.sessions import connected

pytestmark = pytest.mark.usefixtures("lenient_rules")


def test_it_writes_to_nobody_twice_with_many_workers(campaigner: Actor, offer: Template, database: Database) -> None:
    begin_campaign(campaigner, offer, make_recipients(20))
    clock = CampaignClock(database)
    with ThreadPoolExecutor(6) as workers:
        for minute in range(25):
            now = TEN + timedelta(minutes=minute)
            list(workers.map(lambda _, now=now: campaign_release.step(now), range(6)))
            database.execute("update messages set state = 'sent'")
            database.execute(
                "update campaign_lanes set next_check_at = least(next_check_at, %s)", now + timedelta(minutes=1)
            )
    assert clock.now == TEN
    assert sorted(seq for seq, _at in list_released(database)) == list(range(1, 21))
    assert database.one("select count(*) from messages") == 20


def test_a_worker_that_died_holds_nobody_up(
    campaigner: Actor, offer: Template, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_campaign(campaigner, offer, make_recipients(1))
    CampaignClock(database)
    with monkeypatch.context() as patch:
        patch.setattr(campaign_release, "_release_next", lambda *_: None)
        assert campaign_release.step(TEN) == 1
    assert campaign_release.step(TEN + timedelta(seconds=4)) == 0
    assert campaign_release.step(TEN + timedelta(seconds=5)) == 1
    assert len(list_released(database)) == 1


def test_a_clock_that_was_put_back_makes_it_rest_no_longer_than_its_longest_gap(
    campaigner: Actor, offer: Template, database: Database
) -> None:
    begin_campaign(campaigner, offer, make_recipients(2))
    clock = CampaignClock(database)
    clock.look()
    clock.now -= timedelta(days=1)
    database.execute("update campaign_lanes set next_check_at = %s", clock.now)
    clock.run(clock.now + timedelta(seconds=8 * JITTER[1]))
    assert len(list_released(database)) == 2


OF_ONE_DATABASE = examples(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("jump"), st.integers(-90, 60 * 14)),
        st.tuples(st.just("pause"), st.integers(0, 1)),
        st.tuples(st.just("resume"), st.integers(0, 1)),
        st.tuples(st.just("opt_out"), st.integers(1, 16)),
        st.tuples(st.just("die"), st.just(0)),
        st.tuples(st.just("run"), st.integers(1, 600)),
    ),
    min_size=1,
    max_size=14,
)


@OF_ONE_DATABASE
@given(acts=ACTS, cap=st.integers(1, 6), pace=st.sampled_from([8.0, 600.0]), share=st.sampled_from([0.5, 1.0]))
def test_whatever_happens_it_breaks_no_rule(
    new_actor: Callable[..., Actor],
    database: Database,
    acts: list[tuple[str, int]],
    cap: int,
    pace: float,
    share: float,
) -> None:
    """Pauses, clocks that jump, dying workers, opt-outs: never over the cap of a day, outside the hours, or twice."""
    database.execute("delete from campaign_lanes")
    sender = new_actor(Role.USER)
    # A number of its own: sessions of one number share its cap and its pace.
    connected(database, sender, phone=f"55119{sender.user_id.int % 10**8:08}")  # type: ignore[union-attr]
    template = templates.save(sender, template_content.TemplateDraft("Oferta", "Oi, {{nome}}!"))
    pacing = Pacing(time(9), time(18), cap=cap, cold_share=share, pace=pace)
    both = [
        begin_campaign(sender, template, make_recipients(8), pacing),
        begin_campaign(sender, template, make_recipients(8, first=8), pacing),
    ]
    silent: dict[str, datetime] = {}
    clock = CampaignClock(database)
    for what, number in acts:
        if what == "jump":
            clock.now += timedelta(minutes=number)
        elif what in ("pause", "resume"):
            try:
                campaigns.set_paused(sender, both[number].id, on=what == "pause")
            except Conflict:
                continue
            clock.start()
        elif what == "opt_out":
            opt_outs.add(sender, f"+{5511980000000 + number}")
            silent.setdefault(str(5511980000000 + number), datetime.now(UTC))
        elif what == "die":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(campaign_release, "_release_next", lambda *_: None)
                campaign_release.step(clock.now)
        else:
            clock.run(clock.now + timedelta(minutes=number))
    rows = database.execute(
        "select r.released_at, r.phone, m.created_at from campaign_recipients r join messages m on m.id = r.message_id"
        " where r.user_id = %s",
        sender.user_id,
    )
    walls = [local_time.to_local(at, SAO_PAULO) for at, _phone, _made in rows]
    days = [wall.date() for wall in walls]
    assert all(time(9) <= wall.time() < time(18) for wall in walls)
    assert all(days.count(day) <= cap for day in days)
    assert all(phone not in silent or made <= silent[phone] for _at, phone, made in rows)
    sent = database.execute("select phone from messages where user_id = %s", sender.user_id)
    assert len(sent) == len(set(sent)) == len(rows)


PACINGS = st.builds(
    Pacing,
    opens=st.sampled_from([time(8), time(10, 0, 30)]),
    closes=st.sampled_from([time(10, 20), time(20)]),
    cap=st.integers(1, 8),
    cold_share=st.sampled_from([0.0, 0.3, 1.0]),
    pace=st.sampled_from([8.0, 600.0]),
)


@examples(OF_ONE_DATABASE, max_examples=10)
@given(
    wanted=st.lists(st.tuples(PACINGS, st.lists(st.booleans(), min_size=1, max_size=4)), min_size=1, max_size=3),
    restriction=st.one_of(
        st.just(UNRESTRICTED),
        st.integers(-1, 30).map(lambda hours: Restriction(3, TEN, TEN, TEN + timedelta(hours=hours))),
    ),
)
def test_step_by_step_it_releases_what_the_forecast_says(
    new_actor: Callable[..., Actor],
    database: Database,
    wanted: list[tuple[Pacing, list[bool]]],
    restriction: Restriction,
) -> None:
    """The same people of the same campaigns, to the same microsecond, also while WhatsApp refuses strangers; `wanted`
    says of each recipient if it is cold.
    """
    database.execute("delete from campaign_lanes")
    sender = new_actor(Role.USER)
    # A number of its own: sessions of one number share its cap and its pace.
    connected(database, sender, phone=f"55119{sender.user_id.int % 10**8:08}")  # type: ignore[union-attr]
    template = templates.save(sender, template_content.TemplateDraft("Oferta", "Oi, {{nome}}!"))
    queues = []
    for number, (pacing, cold) in enumerate(wanted):
        begun = begin_campaign(sender, template, make_recipients(len(cold), first=number * 10), pacing)
        assert begun.started_at is not None
        database.execute(
            "update campaign_recipients set cold = (%s::boolean[])[seq] where campaign_id = %s", cold, begun.id
        )
        rules = campaign_rules.build_rules(pacing, SAO_PAULO, None)
        queues.append(campaign_forecast.Queue(begun.id, begun.started_at, rules, list(enumerate(cold, start=1))))
    until, clock = TEN + timedelta(days=14), CampaignClock(database, becomes="delivered")
    if restriction is not UNRESTRICTED:
        assert sender.user_id is not None
        with transaction(SYSTEM) as tx:
            campaign_restriction.store_restriction(tx, sender.user_id, restriction)
    foretold = [campaign_forecast.forecast_campaign(sender, one.campaign_id, SAO_PAULO, now=TEN) for one in queues]
    steps = campaign_forecast.simulate(queues, TEN, Sender(TEN, {}, restriction))
    expected = [(step.at, step.campaign_id, step.seq) for step in steps if step.at <= until]
    clock.run(until)
    found = database.execute(
        "select released_at, campaign_id, seq from campaign_recipients where user_id = %s and released_at is not null"
        " order by released_at",
        sender.user_id,
    )
    assert found == expected
    for one, forecast in zip(queues, foretold, strict=True):
        mine = [at for at, campaign_id, _seq in found if campaign_id == one.campaign_id]
        assert (mine[0] if mine else None) == forecast.starts_at
        assert len(mine) == sum(forecast.days.values())
