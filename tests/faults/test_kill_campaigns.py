"""kill -9 of the worker in the middle of a campaign and of due schedules: everybody once, nobody forgotten."""

import random
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from services.messaging.content import Content
from services.outreach import campaign_state, campaigns, schedules, template_content, templates
from services.outreach.recipients import Recipient
from services.outreach.recurrence import ScheduleDraft, ScheduleRecipient
from services.platform import local_time
from tests.support.killable_installation import FAULT_SETTINGS, KillableInstallation, pair_people
from tests.support.local_times import SAO_PAULO
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.slow]

RECIPIENTS = 40
KILLS = 6
# No rule but the lock and the keys stands between two messages.
FREE = {"CAMPAIGN_PACE_SECONDS": "0", "CAMPAIGN_OPENS": "00:00", "CAMPAIGN_CLOSES": "00:00"}
FREE |= {"CAMPAIGN_WARMUP_DAYS": "0", "CAMPAIGN_COLD_SHARE": "1"}


@pytest.fixture
def process_settings() -> Mapping[str, str]:
    return {**FAULT_SETTINGS, **FREE}


@pytest.mark.timeout(240)
def test_it_writes_to_everybody_once_whenever_the_worker_is_killed(installation: KillableInstallation) -> None:
    (sender,) = pair_people(installation, 1)
    template = templates.save(sender, template_content.TemplateDraft("Oferta", "{{nome}}"))
    to = [Recipient(n, "", str(5511980000000 + n), f"P{n}", {"nome": f"P{n}"}) for n in range(1, RECIPIENTS + 1)]
    made = campaigns.create(sender, "Novidades", template, to)
    wall = local_time.to_local(datetime.now(UTC), SAO_PAULO).replace(second=0, microsecond=0) + timedelta(minutes=1)
    for n in range(10):
        schedules.create(
            sender,
            ScheduleDraft(
                "x", SAO_PAULO, wall, None, (ScheduleRecipient(f"55219800000{n:02}"),), Content(body=f"S{n}")
            ),
        )
    # Due now: the form admits what is still to come only.
    minute = "interval '1 minute'"
    installation.database.execute(
        f"update schedules set first_local_time = first_local_time - {minute},"
        f" next_local_time = next_local_time - {minute},"
        f" next_at = next_at - {minute}, next_check_at = next_check_at - {minute}, updated_at = now()"
    )
    campaigns.confirm(sender, made.id, SAO_PAULO)
    for _number in range(KILLS):
        wanted = min(released(installation) + random.randint(1, 5), RECIPIENTS)
        wait_for(partial(has_released, installation, wanted), 30)
        installation.processes.restart("worker")
    wait_for(lambda: campaign_state.get_campaign(sender, made.id).state is campaign_state.CampaignState.ENDED, 90)
    expected = {f"P{n}" for n in range(1, RECIPIENTS + 1)} | {f"S{n}" for n in range(10)}
    waiting = "select count(*) from messages where state in ('queued', 'sending')"
    wait_for(lambda: not installation.database.one(waiting), 60, "every message to leave")
    left = Counter(one["body"] for one in installation.processes.control.sent())
    assert {body for body, count in left.items() if count > 1} == set()
    # What never left is said so, or listed as uncertain.
    listed = "select body from messages where state in ('failed', 'uncertain')"
    assert set(left) | {body for (body,) in installation.database.execute(listed)} == expected


def has_released(installation: KillableInstallation, wanted: int) -> bool:
    return released(installation) >= wanted


def released(installation: KillableInstallation) -> int:
    count: int = installation.database.one("select count(*) from campaign_recipients where state = 'released'")
    return count
