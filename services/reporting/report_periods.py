"""Periods of reports: whole days of a time zone, and the moments between which they lie."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from services.errors import InvalidInput
from services.platform import local_time

QUARTER_HOUR = timedelta(minutes=15)
# Beyond this a chart says nothing and a page would wait.
MAX_DAYS = 1100


@dataclass(frozen=True)
class Span:
    """From one moment to another, the second not included. Both begin a quarter hour."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Period:
    """Whole days of a time zone, the last one included."""

    first: date
    last: date
    zone: str

    @property
    def days(self) -> int:
        """How many days."""
        return (self.last - self.first).days + 1

    @property
    def span(self) -> Span:
        """From midnight to midnight, wherever daylight saving puts them."""
        until = local_time.day_start(self.last + timedelta(days=1), self.zone)
        return Span(local_time.day_start(self.first, self.zone), until)

    def before(self, now: datetime) -> Span:
        """The same number of days before. Of a period that is not over only as much: by the clock, to the quarter."""
        earlier = timedelta(days=self.days)
        since, until = (local_time.day_start(day, self.zone) for day in (self.first - earlier, self.first))
        if not self.span.since <= now < self.span.until:
            return Span(since, until)
        by_then = local_time.to_utc(local_time.to_local(now, self.zone) - earlier, self.zone)
        return Span(since, min(_next_quarter(by_then), until))


def check_period(period: Period) -> None:
    """Refuses a period that no report can have.

    Raises: InvalidInput for an unknown zone, and for a period that runs backwards or is longer than `MAX_DAYS`.
    """
    local_time.require_zone(period.zone)
    if not 1 <= period.days <= MAX_DAYS:
        raise InvalidInput(f"{period.days} days")


def _next_quarter(moment: datetime) -> datetime:
    past = timedelta(minutes=moment.minute % 15, seconds=moment.second, microseconds=moment.microsecond)
    return moment - past + QUARTER_HOUR if past else moment


def split_off_whole_days(span: Span) -> dict[str, datetime]:
    """The span, and the whole days (UTC) inside it: those are summed up already."""
    whole = span.since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = whole if whole == span.since else whole + timedelta(days=1)
    last = span.until.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return {"since": span.since, "until": span.until, "first": first, "last": max(first, last)}
