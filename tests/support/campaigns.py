"""Campaigns, to whom they go, and a worker whose clock is the test's own."""

from collections.abc import Sequence
from datetime import datetime, time

from services.db.actor import Actor
from services.outreach import campaign_release, campaigns
from services.outreach.campaign_rules import Pacing
from services.outreach.campaign_state import Campaign
from services.outreach.recipients import Recipient
from services.outreach.template_content import Template
from services.platform import local_time
from tests.support import days
from tests.support.databases import Database
from tests.support.local_times import SAO_PAULO

PACING = Pacing(time(8), time(20), cap=500, cold_share=1, pace=8)
# A Wednesday, ten o'clock in São Paulo.
DAY = days.future_weekday(2)
TEN = local_time.to_utc(datetime.combine(DAY, time(10)), SAO_PAULO)


def make_recipients(count: int, first: int = 0) -> list[Recipient]:
    """People with a name and a number each, counted from `first` + 1."""
    return [
        Recipient(n, "", str(5511980000000 + n), f"Pessoa {n}", {"nome": f"Pessoa {n}"})
        for n in range(first + 1, first + count + 1)
    ]


def begin_campaign(actor: Actor, template: Template, to: Sequence[Recipient], pacing: Pacing = PACING) -> Campaign:
    """A campaign that its owner has confirmed."""
    made = campaigns.create(actor, "Novidades", template, to, pacing)
    return campaigns.confirm(actor, made.id, SAO_PAULO)


class CampaignClock:
    """A worker whose time is the test's own; whatever it releases leaves at once, and `becomes` sent or delivered."""

    def __init__(self, database: Database, now: datetime = TEN, becomes: str = "sent") -> None:
        self.database = database
        self.now = now
        self.becomes = becomes
        self.start()

    def start(self) -> None:
        """What a person has just done has the real clock's time: it is looked at now."""
        self.database.execute(
            "update campaign_lanes set next_check_at = %s, available_at = least(available_at, %s)", self.now, self.now
        )

    def look(self) -> None:
        campaign_release.step(self.now)
        self.database.execute("update messages set state = %s where state = 'queued'", self.becomes)

    def run(self, until: datetime) -> None:
        """Jump from look to look."""
        while True:
            self.look()
            due = self.database.execute("select min(next_check_at) from campaign_lanes")[0][0]
            if due is None or due > until:
                return
            self.now = max(due, self.now)


def list_released(database: Database) -> list[tuple[int, datetime]]:
    """The place in the list of each recipient who was written to, and when."""
    rows = database.execute(
        "select seq, released_at from campaign_recipients where released_at is not null order by released_at, seq"
    )
    return [(seq, at) for seq, at in rows]
