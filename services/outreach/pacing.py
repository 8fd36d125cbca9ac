"""The pacing of campaigns: whose message is next, and when it may be sent. Pure: no database, no clock.

WhatsApp bans numbers that behave like a machine. So a campaign keeps to hours of the day, to a number of messages a day
that grows while the number is new (warm-up), to a share of people who do not know the sender, and to a pace with random
gaps; while WhatsApp refuses a number's new conversations (`restriction`), strangers wait. `next_step` is the one place
that decides, over all campaigns of a sender: the release asks it once and carries the step out in the database, and the
forecast asks it in a loop with a simulated clock. The gaps are drawn from the recipient's key, so both draw the same.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from uuid import UUID

from services.messaging.pace import Pace
from services.outreach.restriction import UNRESTRICTED, ColdOutcome, Restriction
from services.platform import local_time


class WaitReason(StrEnum):
    """What a campaign waits for."""

    PACE = "pace"
    QUIET = "quiet"  # outside its hours
    CAP = "cap"  # the day's allowance is used up
    COLD = "cold"  # the day's allowance for people who do not know the sender is used up, and nobody else is left
    RESTRICTED = "restricted"  # WhatsApp refuses messages to people who do not know the sender, and nobody else is left
    # What no rule says, but the release finds:
    DISCONNECTED = "disconnected"
    STOPPED = "stopped"  # the kill switch stops the sending
    BACKLOG = "backlog"  # what was released has not left yet


@dataclass(frozen=True)
class Warmup:
    """How a young number grows: `first` messages on its first day, then more each day by the same factor, until after
    `days` days the cap holds alone. 0 days: it is never young.
    """

    days: int
    first: int


@dataclass(frozen=True)
class Rules:
    """What one campaign keeps to. `opens` up to `closes` are wall-clock times of `zone`; closing at midnight is 00:00.

    `cap` is the session's messages of a day over all campaigns; `cold_share`, from 0 to 1, how much of a day's
    allowance may go to people who do not know the sender; `pace` the seconds between two messages before jitter.
    """

    zone: str
    opens: time
    closes: time
    cap: int
    cold_share: float
    pace: float
    warmup: Warmup
    warmup_started_at: datetime | None = None

    def allowance(self, day: date) -> int:
        """How many messages the session may send on `day` of `zone`, over all campaigns."""
        if self.warmup_started_at is None or self.warmup.days == 0:
            return self.cap
        age = max((day - local_time.to_local(self.warmup_started_at, self.zone).date()).days, 0)
        if age >= self.warmup.days or self.warmup.first >= self.cap:
            return self.cap
        grown = self.warmup.first * (self.cap / self.warmup.first) ** (age / self.warmup.days)
        return min(int(grown), self.cap)

    def cold_allowance(self, day: date) -> int:
        """How many of these may go to people who do not know the sender: at least one, unless none may."""
        return max(int(self.allowance(day) * self.cold_share + 1e-9), 1) if self.cold_share else 0

    def is_open(self, moment: datetime) -> bool:
        """Whether `moment` is within the hours."""
        wall = local_time.to_local(moment, self.zone).time()
        return self.opens <= wall and (self.closes == time.min or wall < self.closes)

    def opening(self, moment: datetime) -> datetime:
        """The next moment behind `moment` at which the hours begin."""
        today = local_time.to_local(moment, self.zone).date()
        return next(
            begins
            for begins in (self._opens_on(today + timedelta(days=ahead)) for ahead in range(3))
            if begins > moment
        )

    def next_open(self, moment: datetime) -> datetime:
        """`moment`, or the opening behind it where it is outside the hours."""
        return moment if self.is_open(moment) else self.opening(moment)

    def gap(self, key: str) -> timedelta:
        """How long the session rests after the message of this key: the same for the same key."""
        draw = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
        return Pace(self.pace).gap_at(draw)

    def _opens_on(self, day: date) -> datetime:
        return local_time.to_utc(datetime.combine(day, self.opens), self.zone)


@dataclass(frozen=True)
class Usage:
    """What left the session on one day of `zone`, over all campaigns."""

    total: int = 0
    cold: int = 0

    def plus(self, *, cold: bool) -> "Usage":
        """With one more message, to somebody who does not know the sender (`cold`) or to somebody who does."""
        return Usage(self.total + 1, self.cold + cold)


@dataclass(frozen=True)
class Allowed:
    """The next message may leave; `warm_only`: only to somebody who knows the sender."""

    warm_only: bool


@dataclass(frozen=True)
class Wait:
    """Nothing may leave before `until`."""

    until: datetime
    why: WaitReason


def next_send_decision(
    rules: Rules,
    now: datetime,
    available_at: datetime,
    spent: Usage,
    *,
    warm_waiting: bool,
    cold_waiting: bool,
    cold_after: datetime | None = None,
) -> Allowed | Wait:
    """Whether the next message may leave at `now`. `available_at` is when the session has rested from its last one;
    before `cold_after` nothing leaves to somebody who does not know the sender.
    """
    if now < available_at:
        return Wait(available_at, WaitReason.PACE)
    if not rules.is_open(now):
        return Wait(rules.opening(now), WaitReason.QUIET)
    today = local_time.to_local(now, rules.zone).date()
    tomorrow = local_time.day_start(today + timedelta(days=1), rules.zone)
    if spent.total >= rules.allowance(today):
        return Wait(tomorrow, WaitReason.CAP)
    restricted = cold_after is not None and now < cold_after
    warm_only = restricted or spent.cold >= rules.cold_allowance(today)
    if warm_only and cold_waiting and not warm_waiting:
        if restricted and cold_after is not None:
            return Wait(rules.next_open(cold_after), WaitReason.RESTRICTED)
        return Wait(tomorrow, WaitReason.COLD)
    return Allowed(warm_only)


def release_key(campaign_id: UUID, seq: int) -> str:
    """What names one recipient of one campaign: its message is queued once by it, and its gap is drawn from it."""
    return f"campaign:{campaign_id}:{seq}"


# --- whose turn it is -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class QueueHead:
    """Who is first in what one campaign has waiting. `started_at` is when it was confirmed: the first one goes first.

    `warm` and `cold` are the places in its list of the first who knows the sender and of the first who does not; None
    where nobody of them waits.
    """

    campaign_id: UUID
    started_at: datetime
    rules: Rules
    warm: int | None
    cold: int | None

    def first(self, *, warm_only: bool) -> int | None:
        """The place of the next one: the first in the list, or the first of those who know the sender."""
        return min((seq for seq in (self.warm, None if warm_only else self.cold) if seq is not None), default=None)


@dataclass(frozen=True)
class Release:
    """A message that leaves at `at`; the session rests until `rested_at`."""

    at: datetime
    campaign_id: UUID
    seq: int
    cold: bool
    day: date
    rested_at: datetime


@dataclass(frozen=True)
class Sender:
    """What a session has behind it, over all campaigns: when it has rested, what left on each day of its zone, and how
    WhatsApp took what went to strangers.
    """

    available_at: datetime
    usage: Mapping[date, Usage]
    restriction: Restriction = UNRESTRICTED

    @property
    def cold_after(self) -> datetime | None:
        """Before this moment nothing leaves to a stranger; None where WhatsApp does not refuse them."""
        return self.restriction.probe_at

    def used_on(self, day: date) -> Usage:
        """What left on `day`."""
        return self.usage.get(day, Usage())

    def after(self, release: Release) -> "Sender":
        """The same sender once `release` has left."""
        used = self.used_on(release.day).plus(cold=release.cold)
        restriction = self.restriction.after_release(release.at) if release.cold else self.restriction
        return Sender(release.rested_at, {**self.usage, release.day: used}, restriction)

    def after_delivery(self, release: Release) -> "Sender":
        """The same sender once what left with `release` was delivered."""
        if not release.cold:
            return self
        told = self.restriction.after_outcome(ColdOutcome.DELIVERED, release.at, release.at)
        return self if told is self.restriction else replace(self, restriction=told)


def next_step(heads: Sequence[QueueHead], now: datetime, sender: Sender) -> Release | Wait | None:
    """What a sender's campaigns do at `now`: one message leaves, or all wait; None where nobody is left.

    The first confirmed goes first. While it waits for what does not hold up the next one, the next one goes.
    """
    waits: list[Wait] = []
    for head in sorted(heads, key=lambda head: turn_order(head.started_at, head.campaign_id)):
        if head.first(warm_only=False) is None:
            continue
        day = local_time.to_local(now, head.rules.zone).date()
        decision = next_send_decision(
            head.rules,
            now,
            sender.available_at,
            sender.used_on(day),
            warm_waiting=head.warm is not None,
            cold_waiting=head.cold is not None,
            cold_after=sender.cold_after,
        )
        if isinstance(decision, Wait):
            waits.append(decision)
            continue
        seq = head.first(warm_only=decision.warm_only)
        assert seq is not None, "where only strangers wait and none may go, the decision is to wait"
        rested_at = now + head.rules.gap(release_key(head.campaign_id, seq))
        return Release(now, head.campaign_id, seq, seq == head.cold, day, rested_at)
    return min(waits, key=lambda wait: wait.until, default=None)


def turn_order(started_at: datetime, campaign_id: UUID) -> tuple[datetime, UUID]:
    """What orders the campaigns of a sender: the first confirmed has the first turn."""
    return started_at, campaign_id
