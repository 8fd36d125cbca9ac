"""A restricted account: strangers wait and nobody is lost, acquaintances go on, a probe finds out when it is over."""

from collections.abc import Collection
from datetime import datetime, timedelta

import pytest

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet import incidents, timeline
from services.messaging import attempt
from services.messaging.state import State
from services.outreach import campaign_forecast, campaign_progress, campaign_release, campaigns, number_change
from services.outreach.campaign_state import Campaign, CampaignState, get_campaign
from services.outreach.number_change import Decision
from services.outreach.pacing import WaitReason
from services.outreach.template_content import Template
from services.wppconnect.errors import WppRestricted
from tests.support.campaigns import TEN, begin_campaign, make_recipients
from tests.support.databases import Database
from tests.support.deliveries import acknowledge

pytestmark = pytest.mark.usefixtures("lenient_rules")

SIX_HOURS = timedelta(hours=6)


class Account:
    """A worker whose clock is the test's own, and a WhatsApp that refuses strangers while `restricted`."""

    def __init__(self, database: Database, warm: Collection[int] = (), *, restricted: bool = True) -> None:
        self.database = database
        self.restricted = restricted
        self.now = TEN
        self.tried: list[str] = []
        database.execute("update campaign_recipients set cold = not seq = any(%s)", list(warm))
        self.wake()

    def wake(self) -> None:
        self.database.execute(
            "update campaign_lanes set next_check_at = %s, available_at = least(available_at, %s)", self.now, self.now
        )

    def run(self, until: datetime) -> None:
        """Jump from look to look; what leaves is acknowledged before the next one."""
        while True:
            campaign_release.step(self.now)
            self.answer()
            due = self.database.one("select min(next_check_at) from campaign_lanes")
            waiting = self.database.one("select count(*) from cold_outcomes")
            if not waiting and (due is None or due > until):
                return
            self.now = self.now if waiting else max(due, self.now)

    def answer(self) -> None:
        for message_id, session_id, phone, cold in self.database.execute(
            "select id, session_id, phone, cold from messages where state = 'queued' order by seq"
        ):
            self.tried.append(phone)
            wpp_id = f"true_{phone}@c.us_{message_id}"
            self.database.execute(
                "update messages set state = 'accepted', wpp_id = %s where id = %s", wpp_id, message_id
            )
            for ack in (-1, -1) if cold and self.restricted else (1, 2, 2):
                acknowledge(session_id, wpp_id, ack)

    def one(self, query: str) -> object:
        return self.database.one(query)


def begin(actor: Actor, offer: Template, count: int) -> Campaign:
    return begin_campaign(actor, offer, make_recipients(count))


def look_for_incidents() -> None:
    with transaction(SYSTEM) as tx:
        incidents.detect(tx)
        incidents.update_states(tx)


def test_it_stops_writing_to_strangers_and_goes_on_with_who_wrote(
    campaigner: Actor, staff: Actor, offer: Template, database: Database
) -> None:
    made = begin(campaigner, offer, 60)
    account = Account(database, warm=range(51, 61))
    account.run(TEN + timedelta(hours=1))
    refused = account.one("select count(*) from messages where failure = 'rejected'")
    assert refused == 3
    assert account.one("select count(*) from messages where state = 'delivered' and not cold") == 10
    assert account.one("select count(*) from campaign_recipients where state = 'waiting' and cold") == 50
    status = campaign_forecast.get_pacing_status(campaigner)
    assert status is not None
    assert status.restricted_at is not None
    assert (status.waiting_reason, status.probe_at) == (WaitReason.RESTRICTED, status.restricted_at + SIX_HOURS)
    forecast = campaign_forecast.forecast_campaign(campaigner, made.id, "America/Sao_Paulo", now=account.now)
    assert forecast.starts_at == status.probe_at
    look_for_incidents()
    (found,) = incidents.list_incidents(staff).incidents
    assert (found.kind, found.state) == (incidents.Kind.RESTRICTED, incidents.State.NEEDS_PERSON)


def test_probes_come_ever_later_and_two_delivered_ones_open_it(
    campaigner: Actor, staff: Actor, offer: Template, database: Database
) -> None:
    made = begin(campaigner, offer, 8)
    account = Account(database)
    account.run(TEN + SIX_HOURS - timedelta(seconds=1))
    assert len(account.tried) == 3
    account.run(TEN + timedelta(hours=9))
    assert len(account.tried) == 4, "one probe, and it was refused"
    look_for_incidents()
    account.restricted = False
    account.run(TEN + timedelta(hours=23))
    assert len(account.tried) == 5
    account.run(TEN + timedelta(days=3))
    assert get_campaign(campaigner, made.id).state is CampaignState.ENDED
    delivered = database.execute("select phone from messages where state = 'delivered'")
    assert len(delivered) == len(set(delivered)) == 8
    look_for_incidents()
    assert incidents.list_incidents(staff).incidents == []
    assert campaigner.user_id is not None
    whats = [one.what for one in timeline.list_entries(staff, campaigner.user_id).entries]
    assert whats[:2] == ["healed.restricted", "found.restricted"]


def test_it_takes_back_what_is_queued_for_strangers_when_it_begins(
    campaigner: Actor, offer: Template, database: Database
) -> None:
    begin(campaigner, offer, 10)
    account = Account(database)
    for _number in range(3):
        campaign_release.step(account.now)
        account.now += timedelta(seconds=20)
        if _number < 2:
            account.answer()
    on_its_way = database.one("select id from messages where state = 'queued'")
    database.execute("update messages set state = 'sending' where id = %s", on_its_way)
    campaign_release.step(account.now)
    assert database.one("select phone from messages where state = 'queued'") == "5511980000004"
    database.execute("update messages set state = 'failed', failure = 'rejected' where id = %s", on_its_way)
    campaign_release.step(account.now)
    assert database.execute("select phone, state from messages order by seq offset 3") == [
        ("5511980000004", "cancelled")
    ]
    assert database.one("select state from campaign_recipients where seq = 4") == "waiting"


def test_refusals_of_who_wrote_and_other_failures_do_not_count(
    campaigner: Actor, offer: Template, database: Database
) -> None:
    begin(campaigner, offer, 12)
    account = Account(database, warm=range(1, 7), restricted=False)
    account.run(TEN + timedelta(hours=1))
    database.execute("update messages set state = 'failed', failure = 'rejected' where not cold")
    database.execute("update messages set state = 'failed', failure = 'not_on_whatsapp' where cold")
    account.wake()
    campaign_release.step(account.now)
    assert database.one("select refusals from campaign_lanes") == 0


def test_one_refusal_alone_stays_a_failure(campaigner: Actor, offer: Template, database: Database) -> None:
    begin(campaigner, offer, 3)
    account = Account(database)
    campaign_release.step(TEN)
    account.answer()
    account.restricted = False
    account.run(TEN + timedelta(hours=1))
    assert account.tried == ["5511980000001", "5511980000002", "5511980000003"]
    assert database.one("select refusals from campaign_lanes") == 0
    assert database.one("select count(*) from messages where state = 'failed'") == 1


def test_a_campaign_that_ended_before_its_refusals_came_goes_on(
    campaigner: Actor, offer: Template, database: Database
) -> None:
    made = begin(campaigner, offer, 3)
    account = Account(database)
    account.run(TEN + timedelta(hours=1))
    assert get_campaign(campaigner, made.id).state is CampaignState.ACTIVE
    assert campaign_progress.get_progress(campaigner, made.id).places == {"waiting": 3}
    told = campaign_progress.list_results(campaigner, made.id)[0]
    assert campaign_progress.result_detail(told) == "O WhatsApp recusou; será tentada de novo."


def test_who_is_refused_again_and_again_is_not_tried_for_ever(
    campaigner: Actor, offer: Template, database: Database
) -> None:
    made = begin(campaigner, offer, 3)
    account = Account(database)
    account.run(TEN + timedelta(days=60))
    assert sorted(account.tried) == sorted(3 * [f"551198000000{n}" for n in (1, 2, 3)])
    assert get_campaign(campaigner, made.id).state is CampaignState.ENDED
    assert campaign_progress.get_progress(campaigner, made.id).count(State.FAILED) == 9
    account.run(TEN + timedelta(days=90))
    assert database.one("select restricted_at from campaign_lanes") is None, "forgotten, with nobody to probe with"


def test_a_refused_message_that_arrives_all_the_same_is_not_sent_anew(
    campaigner: Actor, offer: Template, database: Database
) -> None:
    begin(campaigner, offer, 4)
    account = Account(database)
    account.run(TEN + timedelta(hours=1))
    session_id, wpp_id = database.execute("select session_id, wpp_id from messages where phone like '%%1'")[0]
    acknowledge(session_id, wpp_id, 2)
    account.restricted = False
    account.run(TEN + timedelta(days=4))
    assert account.tried.count("5511980000001") == 1
    assert database.one("select count(*) from campaign_recipients where state = 'released'") == 4


def test_another_number_begins_unrestricted(campaigner: Actor, offer: Template, database: Database) -> None:
    begin(campaigner, offer, 6)
    account = Account(database)
    account.run(TEN + timedelta(hours=1))
    database.execute("update whatsapp_sessions set phone_number = '5511988887777'")
    number_change.decide(campaigner, Decision.CONTINUE)
    account.restricted = False
    account.wake()
    account.run(account.now + timedelta(minutes=5))
    assert database.one("select count(*) from messages where state = 'delivered'") == 6


def test_an_error_of_the_server_that_names_it_counts_too(
    campaigner: Actor, offer: Template, database: Database
) -> None:
    outcome = attempt._nothing_left(None, WppRestricted("send-message: HTTP 500"))  # type: ignore[arg-type]
    assert (outcome.state, outcome.failure, outcome.answered) == (State.FAILED, "restricted", True)
    begin(campaigner, offer, 8)
    account = Account(database)
    for _number in range(3):
        campaign_release.step(account.now)
        database.execute("update messages set state = 'failed', failure = 'restricted' where state = 'queued'")
        account.now += timedelta(seconds=20)
    campaign_release.step(account.now)
    assert database.one("select refusals from campaign_lanes") == 3
    assert database.one("select count(*) from messages") == 3


def test_all_can_be_paused_at_once(campaigner: Actor, staff: Actor, offer: Template, database: Database) -> None:
    both = [begin(campaigner, offer, 2), begin(campaigner, offer, 2)]
    assert campaigns.pause_all(campaigner) == 2
    assert {get_campaign(campaigner, one.id).state for one in both} == {CampaignState.PAUSED}
    assert campaigns.pause_all(campaigner) == 0
