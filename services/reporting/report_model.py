"""The dataclasses of a report: totals, durations, charts, breakdowns, availability and the ranking."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

from services.reporting.report_periods import Period


class Measure(StrEnum):
    """What is timed."""

    DELIVERY = "delivery"  # from leaving to the recipient's phone
    READING = "reading"  # from there to being read
    RESPONSE = "response"  # from somebody's first unanswered message to what was written back


Grain = Literal["hour", "day"]
RankingOrder = Literal["sent", "read", "failed", "received", "email"]


@dataclass(frozen=True)
class Durations:
    """How long something took, in seconds. `median` and `slow` (90 % were faster) are exact to a fifth."""

    count: int = 0
    mean: float | None = None
    median: float | None = None
    slow: float | None = None


@dataclass(frozen=True)
class Totals:
    """Messages of a period. `sent` includes delivered and read ones, `delivered` read ones; `received` came in."""

    total: int
    waiting: int
    sent: int
    delivered: int
    read: int
    failed: int
    uncertain: int
    received: int
    opt_outs: int
    times: Mapping[Measure, Durations]


@dataclass(frozen=True)
class ChartPoint:
    """An hour or a day of the period; `starts_at` is the viewer's wall clock, without a zone."""

    starts_at: datetime
    sent: int
    delivered: int
    read: int
    failed: int
    received: int


@dataclass(frozen=True)
class WeekdayHour:
    """An hour of a weekday (1 is Monday) over the whole period."""

    weekday: int
    hour: int
    sent: int
    received: int


@dataclass(frozen=True)
class FailureCount:
    """Why messages did not arrive, or may not have: a code of `state.FAILURES`."""

    code: str
    messages: int


@dataclass(frozen=True)
class BreakdownRow:
    """What one template or campaign came to; `name` is None where it has gone, and for staff:
    it is its owner's."""

    id: UUID
    name: str | None
    total: int
    sent: int
    delivered: int
    read: int
    failed: int


@dataclass(frozen=True)
class Availability:
    """How well sessions were up, from their timeline: seconds `up` of those `known`, and the `median` of a pairing."""

    up: float
    known: float
    attempts: int
    paired: int
    median: float | None

    @property
    def uptime(self) -> float | None:
        """From 0 to 1; None where nothing is known."""
        return self.up / self.known if self.known else None

    @property
    def success(self) -> float | None:
        """Of pairings, from 0 to 1; None where none began."""
        return self.paired / self.attempts if self.attempts else None


@dataclass(frozen=True)
class Report:
    """One period beside the one before. `grain` says what a point is."""

    period: Period
    now: Totals
    before: Totals
    availability: Availability
    availability_before: Availability
    grain: Grain
    points: list[ChartPoint]
    cells: list[WeekdayHour]
    failures: list[FailureCount]
    templates: list[BreakdownRow]
    campaigns: list[BreakdownRow]


@dataclass(frozen=True)
class RankingRow:
    """One person's session in a period. `response` is the mean, in seconds."""

    user_id: UUID
    email: str
    total: int
    sent: int
    delivered: int
    read: int
    failed: int
    uncertain: int
    received: int
    response: float | None


@dataclass(frozen=True)
class Ranking:
    """One page; `total` counts everybody who had anything in the period."""

    rows: list[RankingRow]
    total: int


@dataclass(frozen=True)
class Person:
    """Somebody whose report staff may choose."""

    user_id: UUID
    email: str
