"""What a schedule says, and at which times it occurs.

A schedule keeps the clock of its time zone: after a change to or from daylight saving time it still occurs at ten. A
time that does not exist on a day occurs at the next time that exists; one that exists twice occurs at the first
(`platform.local_time`).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from dateutil.rrule import rrule, rruleset, rrulestr

from services.errors import InvalidInput
from services.messaging.content import Content
from services.outreach.errors import MomentPassed
from services.platform import local_time

MAX_INTERVAL = 366
# What a rule may say: at most once a day, at the time of its first occurrence.
_RULE_PARTS = frozenset({"FREQ", "INTERVAL", "BYDAY", "BYMONTHDAY", "BYSETPOS", "COUNT", "UNTIL", "WKST"})
_FREQUENCIES = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
_RULE = re.compile(r"[A-Z]+=[A-Z0-9,+\-]+(?:;[A-Z]+=[A-Z0-9,+\-]+)*")


@dataclass(frozen=True)
class ScheduleRecipient:
    """Whom it goes to: `phone` in digits, or a group's `…@g.us`; `values` are what a template's variables stand for."""

    phone: str
    name: str | None = field(default=None, repr=False)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Occurrence:
    """One time: on the clock of the schedule's zone (naive), and the moment at which that is."""

    wall: datetime
    at: datetime
    skipped: bool = False


@dataclass(frozen=True)
class ScheduleDraft:
    """What a schedule is made of: when, to whom, and a `content`, or the version of a template.

    `first` is the first occurrence on the clock of `zone` (naive, to the minute); `rule` an iCalendar RRULE without
    its name, None for once.
    """

    name: str
    zone: str
    first: datetime
    rule: str | None
    to: tuple[ScheduleRecipient, ...]
    content: Content | None = None
    template_id: UUID | None = None
    template_version: int | None = None


def occurrences(draft: ScheduleDraft, after: datetime | None = None) -> Iterator[Occurrence]:
    """The occurrences of a schedule in their order, from the first one on or those behind the wall time `after`."""
    if draft.rule is None:
        walls: Iterator[datetime] = iter([draft.first] if after is None or draft.first > after else [])
    else:
        rule = _parse_rule(draft.rule, draft.first)
        walls = iter(rule) if after is None else rule.xafter(after)
    for wall in walls:
        yield Occurrence(wall, local_time.to_utc(wall, draft.zone))


def _parse_rule(rule: str, first: datetime) -> rrule:
    """Raises InvalidInput for what is no rule, or one that would send more often than once a day."""
    parts = dict(part.split("=", 1) for part in rule.split(";")) if _RULE.fullmatch(rule) else {}
    if not parts or set(parts) - _RULE_PARTS or parts.get("FREQ") not in _FREQUENCIES or rule.count("=") != len(parts):
        raise InvalidInput("no recurrence rule of ours")
    try:
        if not 1 <= int(parts.get("INTERVAL", "1")) <= MAX_INTERVAL:
            raise InvalidInput("interval out of range")
        made: rrule | rruleset = rrulestr(rule, dtstart=first)
    except (ValueError, TypeError, IndexError) as error:
        raise InvalidInput(f"recurrence rule: {type(error).__name__}") from None
    assert isinstance(made, rrule)
    return made


def next_occurrence(draft: ScheduleDraft, after: datetime | None, now: datetime) -> Occurrence | None:
    """The first occurrence that is behind `after` and not before `now`."""
    return next((one for one in occurrences(draft, after) if one.at >= now), None)


def preview_occurrences(draft: ScheduleDraft, count: int = 10, now: datetime | None = None) -> list[Occurrence]:
    """The next `count` occurrences of what is being written.

    Raises: InvalidInput, MomentPassed.
    """
    moment = now or datetime.now(UTC)
    first = next_occurrence(draft, None, moment)
    if first is None:
        raise MomentPassed("nothing is still to come")
    coming = occurrences(draft, first.wall - timedelta(seconds=1))
    return [one for one, _number in zip(coming, range(count), strict=False)]
