"""Whether WhatsApp lets a number begin new conversations, told from what became of its messages to strangers. Pure.

WhatsApp restricts a number that writes to too many strangers: for hours or days it refuses every message to somebody
who never wrote, while old conversations go on, and whoever keeps trying is restricted for longer. Nothing announces it.

    open ──three strangers' messages in a row refused──▶ restricted ──two probes delivered──▶ open
                                                           │    ▲
                                                           └────┘ a probe, one message to a stranger, after 6 h; each
                                                                  one that is refused doubles the wait, up to 4 days

Only what was sent later than the refusals counts against them: a phone that was off for a night tells of yesterday.
Where nobody is left to probe with, the restriction is forgotten after a week without a probe.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

REFUSALS_IN_A_ROW = 3
DELIVERED_PROBES = 2
FIRST_PROBE_AFTER = timedelta(hours=6)
LONGEST_PROBE_WAIT = timedelta(days=4)
# No restriction is reported to last for longer than a week.
FORGOTTEN_AFTER = timedelta(days=7)


class ColdOutcome(StrEnum):
    """What became of a message to a stranger, as it is stored."""

    REFUSED = "refused"  # certainly not delivered: WhatsApp said no
    ACCEPTED = "accepted"  # WhatsApp took it after all, having refused it before
    DELIVERED = "delivered"


@dataclass(frozen=True)
class Restriction:
    """How WhatsApp has lately taken a number's messages to strangers.

    `refusals` in a row, the first of them sent at `refused_since`. From `restricted_at` on nothing leaves to a stranger
    but one probe at or after `probe_at`; both are None while there is no restriction. `refused_probes` and
    `delivered_probes` are in a row.
    """

    refusals: int = 0
    refused_since: datetime | None = None
    restricted_at: datetime | None = None
    probe_at: datetime | None = None
    refused_probes: int = 0
    delivered_probes: int = 0

    @property
    def forgotten_at(self) -> datetime | None:
        """When it is taken to be over although no probe told so; None while there is none."""
        return None if self.probe_at is None else self.probe_at + FORGOTTEN_AFTER

    def at(self, now: datetime) -> "Restriction":
        """As it stands at `now`."""
        return UNRESTRICTED if self.forgotten_at is not None and self.forgotten_at <= now else self

    def after_release(self, at: datetime) -> "Restriction":
        """Once a message to a stranger has left at `at`: while there is a restriction it was the probe."""
        return self if self.restricted_at is None else replace(self, probe_at=at + self._get_probe_wait())

    def after_outcome(self, outcome: ColdOutcome, sent_at: datetime, now: datetime) -> "Restriction":
        """Once it is known, at `now`, what became of the message to a stranger that was sent at `sent_at`."""
        if outcome is ColdOutcome.ACCEPTED:
            return self
        refused = outcome is ColdOutcome.REFUSED
        if self.restricted_at is None:
            return self._after_refusal(sent_at, now) if refused else self._after_delivery(sent_at)
        if sent_at <= self.restricted_at:
            return self
        return self._after_refused_probe(now) if refused else self._after_delivered_probe()

    def _after_refusal(self, sent_at: datetime, now: datetime) -> "Restriction":
        since = sent_at if self.refused_since is None else min(self.refused_since, sent_at)
        counted = replace(self, refusals=self.refusals + 1, refused_since=since)
        if counted.refusals < REFUSALS_IN_A_ROW:
            return counted
        return replace(counted, restricted_at=now, probe_at=now + FIRST_PROBE_AFTER)

    def _after_delivery(self, sent_at: datetime) -> "Restriction":
        return self if self.refused_since is None or sent_at < self.refused_since else UNRESTRICTED

    def _after_refused_probe(self, now: datetime) -> "Restriction":
        refused = replace(self, refused_probes=self.refused_probes + 1, delivered_probes=0)
        return replace(refused, probe_at=now + refused._get_probe_wait())

    def _after_delivered_probe(self) -> "Restriction":
        delivered = self.delivered_probes + 1
        return UNRESTRICTED if delivered >= DELIVERED_PROBES else replace(self, delivered_probes=delivered)

    def _get_probe_wait(self) -> timedelta:
        # Beyond a few doublings it is the limit anyway.
        doubled: int = 1 << min(self.refused_probes, 10)
        return min(FIRST_PROBE_AFTER * doubled, LONGEST_PROBE_WAIT)


UNRESTRICTED = Restriction()
