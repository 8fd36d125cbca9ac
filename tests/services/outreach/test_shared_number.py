"""One number in the sessions of two users: what WhatsApp counts by number is the number's, and neither learns of the
other."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from uuid import UUID

import pytest

from services.contacts import number_checks
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet import incidents, overview, timeline
from services.outreach import template_content, templates
from services.outreach.campaign_rules import Pacing, get_usage
from services.outreach.pacing import Usage
from tests.support.campaigns import DAY, PACING, TEN, CampaignClock, begin_campaign, make_recipients
from tests.support.databases import Database
from tests.support.local_times import SAO_PAULO
from tests.support.process_state import forget_process_state
from tests.support.sessions import connected

NUMBER, OTHER = "5511999990000", "5511987650009"


@pytest.fixture
def pair(new_actor: Callable[..., Actor], database: Database) -> tuple[Actor, Actor]:
    """Two users whose sessions are one number, in two spellings."""
    ana, bia = new_actor(), new_actor()
    connected(database, ana, phone=NUMBER)
    connected(database, bia, phone="551199990000")
    return ana, bia


def begin(actor: Actor, count: int, first: int, pacing: Pacing = PACING) -> None:
    offer = templates.save(actor, template_content.TemplateDraft("Oferta", "Oi, {{nome}}!"))
    begin_campaign(actor, offer, make_recipients(count, first), pacing)


def detect() -> int:
    with transaction(SYSTEM) as tx:
        found = incidents.detect(tx)
        incidents.update_states(tx)
    return found


@pytest.mark.usefixtures("lenient_rules")
def test_the_cap_and_the_pace_are_the_numbers(pair: tuple[Actor, Actor], database: Database) -> None:
    pacing = Pacing(PACING.opens, PACING.closes, cap=6, cold_share=1, pace=60)
    for first, actor in enumerate(pair):
        begin(actor, 5, 100 * first, pacing)
    CampaignClock(database).run(TEN + timedelta(hours=5))
    released = [at for (at,) in database.execute(
        "select released_at from campaign_recipients where released_at is not null order by 1"
    )]  # fmt: skip
    assert len(released) == 6
    gaps = [later - earlier for earlier, later in pairwise(released)]
    assert min(gaps) >= timedelta(seconds=30)
    for actor in pair:
        assert actor.user_id is not None
        with transaction(actor) as tx:
            assert get_usage(tx, actor.user_id, DAY, SAO_PAULO) == Usage(6, 6)


@pytest.mark.usefixtures("lenient_rules")
def test_another_number_begins_its_day_anew(pair: tuple[Actor, Actor], database: Database) -> None:
    ana, bia = pair
    assert ana.user_id is not None
    database.execute(
        "insert into campaigns (user_id, name, template_id, template_version, opens, closes, cap, cold_share, pace)"
        " values (%s, 'x', gen_random_uuid(), 1, '08:00', '20:00', 1, 1, 1)", ana.user_id,
    )  # fmt: skip
    database.execute(
        "insert into campaign_recipients (campaign_id, user_id, seq, phone, cold, state, released_at)"
        " select id, user_id, 1, '5511933334444', true, 'released', clock_timestamp() from campaigns"
    )
    database.execute("update whatsapp_sessions set phone_number = %s where user_id = %s", OTHER, ana.user_id)
    today = database.one("select (now() at time zone %s)::date", SAO_PAULO)
    for actor, total in ((ana, 0), (bia, 1)):
        assert actor.user_id is not None
        with transaction(SYSTEM) as tx:
            assert get_usage(tx, actor.user_id, today, SAO_PAULO).total == total


def test_nobody_learns_of_anothers_number(pair: tuple[Actor, Actor], new_actor: Callable[..., Actor]) -> None:
    stranger, ana = new_actor(), pair[0]
    assert ana.user_id is not None
    with transaction(stranger) as tx:
        assert get_usage(tx, ana.user_id, DAY, SAO_PAULO) == Usage(0, 0)


def test_the_budget_of_questions_is_the_numbers(
    pair: tuple[Actor, Actor], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBER_CHECKS_PER_HOUR", "5")
    forget_process_state()
    ids: list[UUID] = [database.one("select id from whatsapp_sessions where user_id = %s", one.user_id) for one in pair]
    database.execute(
        "insert into number_checks (session_id, user_id, phone, asked_at)"
        " select s.id, s.user_id, (5511900000000 + n)::text, now()"
        " from whatsapp_sessions s, generate_series(1, 3) n where s.id = %s", ids[0],
    )  # fmt: skip
    assert [number_checks.remaining_budget(actor, one) for actor, one in zip(pair, ids, strict=True)] == [2, 2]
    _name, _server, allowed = number_checks._reserve_questions(
        pair[1], ids[1], ["5511900000007", "5511900000008", "5511900000009"]
    )
    assert allowed == {"5511900000007", "5511900000008"}


def test_only_staff_see_two_sessions_of_one_number(pair: tuple[Actor, Actor], staff: Actor, database: Database) -> None:
    assert detect() == 2
    assert detect() == 0
    for actor in pair:
        assert actor.user_id is not None
        found = [one.kind for one in incidents.list_incidents(staff, user_id=actor.user_id).incidents]
        assert found == [incidents.Kind.SAME_NUMBER]
        assert incidents.list_incidents(actor).incidents == []
        assert timeline.list_entries(actor, actor.user_id).entries == []
        row = overview.get_row(staff, actor.user_id)
        assert row is not None
        assert row.incident is incidents.Kind.SAME_NUMBER
    database.execute("update whatsapp_sessions set phone_number = %s where user_id = %s", OTHER, pair[0].user_id)
    detect()
    assert incidents.list_incidents(staff).incidents == []
