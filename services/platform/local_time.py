"""Time zones by their names, and local times ↔ moments in UTC: the only place that knows how clocks are changed.

There is one rule for the hours that daylight saving skips or repeats. A time that does not exist on a day becomes the
next moment that does: the one at which the clock was put forward. Of a time that exists twice, the first is taken.
"""

import functools
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

from services.errors import InvalidInput


def is_zone(name: str) -> bool:
    """Whether `name` is a time zone's IANA name, as `America/Sao_Paulo`."""
    return name in _zone_names()


@functools.lru_cache(maxsize=64)
def require_zone(name: str) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises: InvalidInput for any other text.
    """
    if not is_zone(name):
        raise InvalidInput("no such time zone")
    return ZoneInfo(name)


@functools.cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones())


def to_utc(wall: datetime, name: str) -> datetime:
    """The moment, in UTC, at which the clocks of the zone `name` show `wall` (naive)."""
    place = require_zone(name)
    before, after = (wall.replace(tzinfo=place, fold=fold).utcoffset() or timedelta(0) for fold in (0, 1))
    early, late = (wall - offset for offset in (after, before))
    # In a gap the offset from before it leads to a moment behind the change, the one from after it to one before.
    if before < after:
        return _clock_change(early, late, place).replace(tzinfo=UTC)
    return late.replace(tzinfo=UTC)


def to_local(moment: datetime, name: str) -> datetime:
    """What the clocks of the zone `name` show at `moment`, as a naive time."""
    return moment.astimezone(require_zone(name)).replace(tzinfo=None)


def day_start(day: date, name: str) -> datetime:
    """The moment at which `day` begins in the zone `name`."""
    return to_utc(datetime.combine(day, time.min), name)


def _clock_change(early: datetime, late: datetime, place: ZoneInfo) -> datetime:
    """The second between two (naive, UTC) at which the clock was put forward."""
    old = early.replace(tzinfo=UTC).astimezone(place).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = early + timedelta(seconds=(late - early).total_seconds() // 2)
        if middle.replace(tzinfo=UTC).astimezone(place).utcoffset() == old:
            early = middle
        else:
            late = middle
    return late
