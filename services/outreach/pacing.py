"""The pacing of campaigns: when the next message may be sent. Pure: no database, no clock.

WhatsApp bans numbers that behave like a machine. So a campaign keeps to hours of the day, to a number of messages a day
that grows while the number is new (warm-up), to a share of people who do not know the sender, and to a pace with random
gaps. `next_send_decision` is the one place that decides: the release asks it before each message, and `forecast` asks
it with a simulated clock. The gaps are drawn from the recipient's key, so both draw the same gaps.
"""

import hashlib
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from uuid import UUID

from services.platform import local_time

# Each gap is the pace times a factor from this range, as at the lanes.
JITTER = (0.7, 1.6)
# A forecast that runs longer than this is told as "later than".
FORECAST_HORIZON = timedelta(days=400)


class WaitReason(StrEnum):
    """What a campaign waits for."""

    PACE = "pace"
    QUIET = "quiet"  # outside its hours
    CAP = "cap"  # the day's allowance is used up
    COLD = "cold"  # the day's allowance for people who do not know the sender is used up, and nobody else is left
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

    def gap(self, key: str) -> timedelta:
        """How long the session rests after the message of this key: the same for the same key."""
        drawn = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
        return timedelta(seconds=self.pace * (JITTER[0] + drawn * (JITTER[1] - JITTER[0])))

    def _opens_on(self, day: date) -> datetime:
        return local_time.to_utc(datetime.combine(day, self.opens), self.zone)


@dataclass(frozen=True)
class Usage:
    """What left the session on the day of `zone` that is asked about, over all campaigns."""

    total: int = 0
    cold: int = 0


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
    rules: Rules, now: datetime, available_at: datetime, spent: Usage, *, warm_waiting: bool, cold_waiting: bool
) -> Allowed | Wait:
    """Whether the next message may leave at `now`. `available_at` is when the session has rested from its last one."""
    if now < available_at:
        return Wait(available_at, WaitReason.PACE)
    if not rules.is_open(now):
        return Wait(rules.opening(now), WaitReason.QUIET)
    today = local_time.to_local(now, rules.zone).date()
    tomorrow = local_time.day_start(today + timedelta(days=1), rules.zone)
    if spent.total >= rules.allowance(today):
        return Wait(tomorrow, WaitReason.CAP)
    warm_only = spent.cold >= rules.cold_allowance(today)
    if warm_only and cold_waiting and not warm_waiting:
        return Wait(tomorrow, WaitReason.COLD)
    return Allowed(warm_only)


def release_key(campaign_id: UUID, seq: int) -> str:
    """What names one recipient of one campaign: its message is queued once by it, and its gap is drawn from it."""
    return f"campaign:{campaign_id}:{seq}"


# --- the forecast -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Queue:
    """A campaign as far as a forecast goes: its rules and who waits, in order, each with whether they are cold."""

    campaign_id: UUID
    rules: Rules
    waiting: Sequence[tuple[int, bool]]


@dataclass(frozen=True)
class Release:
    """One message of a forecast."""

    at: datetime
    campaign_id: UUID
    seq: int


@dataclass(frozen=True)
class Forecast:
    """What will become of a campaign if nothing happens to it.

    `over_today`: how many of those that are left must wait for another day because today's allowance is used up;
    `ends_at` is None where it cannot end, or not within 400 days. `days` counts its messages by day of its zone.
    """

    total: int
    starts_at: datetime | None
    ends_at: datetime | None
    over_today: int
    days: Mapping[date, int]


def simulate(
    queues: Sequence[Queue], now: datetime, available_at: datetime, spent: Mapping[date, Usage]
) -> Iterator[Release]:
    """Every release to come of a session's campaigns, the first of which goes first, as the worker will do them.

    `spent` is what left on the days of the first queue's zone so far; campaigns of one session share their zone.
    """
    lines = [_SimulatedQueue(queue) for queue in queues]
    by_day = {day: [one.total, one.cold] for day, one in spent.items()}
    horizon = now + FORECAST_HORIZON
    while now < horizon and (left := [line for line in lines if line.cold or line.warm]):
        waits: list[datetime] = []
        for line in left:
            rules = line.queue.rules
            used = by_day.setdefault(local_time.to_local(now, rules.zone).date(), [0, 0])
            found = next_send_decision(
                rules,
                now,
                available_at,
                Usage(*used),
                warm_waiting=bool(line.warm),
                cold_waiting=bool(line.cold),
            )
            if isinstance(found, Wait):
                waits.append(found.until)
                continue
            seq, cold = line.take(warm_only=found.warm_only)
            used[0] += 1
            used[1] += cold
            available_at = now + rules.gap(release_key(line.queue.campaign_id, seq))
            yield Release(now, line.queue.campaign_id, seq)
            break
        else:
            now = min(waits)


def forecast(
    queues: Sequence[Queue], campaign_id: UUID, now: datetime, available_at: datetime, spent: Mapping[date, Usage]
) -> Forecast:
    """What will become of one of `queues` beside the others."""
    place = next(number for number, queue in enumerate(queues) if queue.campaign_id == campaign_id)
    asked = queues[place]
    mine = [one.at for one in simulate(queues, now, available_at, spent) if one.campaign_id == campaign_id]
    zone, total = asked.rules.zone, len(asked.waiting)
    today = local_time.to_local(now, zone).date()
    before = spent.get(today, Usage()).total + sum(len(queue.waiting) for queue in queues[:place])
    room = max(asked.rules.allowance(today) - before, 0)
    return Forecast(
        total=total,
        starts_at=mine[0] if mine else None,
        ends_at=mine[-1] if mine and len(mine) == total else None,
        over_today=max(total - room, 0),
        days=dict(sorted(Counter(local_time.to_local(at, zone).date() for at in mine).items())),
    )


class _SimulatedQueue:
    """Who waits in one campaign; the next one is the first in order that may go."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.warm = deque(seq for seq, cold in queue.waiting if not cold)
        self.cold = deque(seq for seq, cold in queue.waiting if cold)

    def take(self, *, warm_only: bool) -> tuple[int, bool]:
        if self.cold and not warm_only and (not self.warm or self.cold[0] < self.warm[0]):
            return self.cold.popleft(), True
        return self.warm.popleft(), False
