"""WhatsApp restricts an account in the middle of a campaign: a few strangers are refused, everybody else is served."""

from collections import Counter
from collections.abc import Mapping
from functools import partial

import pytest

from services.db.actor import Actor
from services.fleet import incidents
from services.outreach import campaigns, template_content, templates
from services.outreach.campaign_state import CampaignState, get_campaign
from services.outreach.recipients import Recipient
from tests.support.killable_installation import FAULT_SETTINGS, KillableInstallation, pair_people
from tests.support.local_times import SAO_PAULO
from tests.support.waiting import wait_for

pytestmark = pytest.mark.faults

COLD, WARM = 50, 10
ARRIVED = "state in ('delivered', 'read')"
# A pace at which an answer can come between two messages, as it can at any that an installation would choose.
PACED = {"CAMPAIGN_PACE_SECONDS": "0.5", "CAMPAIGN_OPENS": "00:00", "CAMPAIGN_CLOSES": "00:00"}
PACED |= {"CAMPAIGN_WARMUP_DAYS": "0", "CAMPAIGN_COLD_SHARE": "1", "HEALTH_SWEEP_SECONDS": "1"}


@pytest.fixture
def process_settings() -> Mapping[str, str]:
    return {**FAULT_SETTINGS, **PACED}


def phone(number: int) -> str:
    return str(5511980000000 + number)


def count(installation: KillableInstallation, what: str) -> int:
    found: int = installation.database.one(f"select count(*) from messages where direction = 'out' and {what}")
    return found


def have_arrived(installation: KillableInstallation, strangers: int) -> bool:
    return count(installation, f"cold and {ARRIVED}") >= strangers


def hurry_probe(installation: KillableInstallation) -> None:
    """Six hours pass."""
    installation.database.execute("update campaign_lanes set probe_at = now(), next_check_at = now()")


def find_incident(actor: Actor) -> incidents.Incident:
    return next(
        one for one in incidents.list_incidents(actor, ended=True).incidents if one.kind is incidents.Kind.RESTRICTED
    )


@pytest.mark.timeout(240)
def test_it_refuses_a_few_serves_who_wrote_and_goes_on_when_it_is_over(installation: KillableInstallation) -> None:
    (sender,) = pair_people(installation, 1)
    control, name = installation.processes.control, f"user_{sender.user_id}"
    for number in range(COLD + 1, COLD + WARM + 1):
        control.inbound(name, phone(number), "Oi!")
    written = "select count(*) from messages where direction = 'in'"
    wait_for(lambda: installation.database.one(written) == WARM, 30, "what people wrote")
    control.fault("refuses_strangers", name)
    template = templates.save(sender, template_content.TemplateDraft("Oferta", "{{nome}}"))
    to = [Recipient(n, "", phone(n), f"P{n}", {"nome": f"P{n}"}) for n in range(1, COLD + WARM + 1)]
    made = campaigns.create(sender, "Novidades", template, to)
    campaigns.confirm(sender, made.id, SAO_PAULO)

    wait_for(lambda: count(installation, f"not cold and {ARRIVED}") == WARM, 90, "who wrote")
    refused = count(installation, "failure = 'rejected'")
    assert 3 <= refused <= 5
    waiting = "select count(*) from campaign_recipients where state = 'waiting' and cold"
    assert installation.database.one(waiting) == COLD
    lane = "select restricted_at is not null from campaign_lanes"
    assert installation.database.one(lane)
    wait_for(lambda: incidents.list_incidents(sender).incidents, 30, "an incident")
    assert find_incident(sender).state is incidents.State.NEEDS_PERSON

    hurry_probe(installation)
    wait_for(lambda: count(installation, "failure = 'rejected'") == refused + 1, 30, "a refused probe")
    control.fault("refuses_strangers", name, on=False)
    for probe in (1, 2):
        hurry_probe(installation)
        wait_for(partial(have_arrived, installation, probe), 30, f"probe {probe}")
    wait_for(lambda: not installation.database.one(lane), 30, "the end of the restriction")
    wait_for(lambda: find_incident(sender).state is incidents.State.HEALED, 30, "the end of the incident")

    wait_for(lambda: get_campaign(sender, made.id).state is CampaignState.ENDED, 120, "the campaign's end")
    wait_for(
        lambda: not count(installation, "state in ('queued', 'sending', 'accepted')"), 60, "every message to leave"
    )
    left = Counter(one["body"] for one in control.sent(name))
    assert left == {f"P{n}": 1 for n in range(1, COLD + WARM + 1)}
