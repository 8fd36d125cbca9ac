"""Days relative to the day on which the tests run.

The database compares dates with its own clock: a fixed date is in the future this week and in the past the next. So
tests take days from here, or days of a year that is over (`tests/test_days.py`). Weekdays count from 0, Monday.
"""

from datetime import UTC, date, datetime, timedelta

WEEK = 7
# More than a time zone, or a midnight that passes under the tests, can make of a day.
MARGIN = timedelta(days=2)


def future_weekday(weekday: int) -> date:
    """The first such day that is ahead everywhere, for as long as the tests run."""
    earliest = _utc_today() + MARGIN
    return earliest + timedelta(days=(weekday - earliest.weekday()) % WEEK)


def past_week_from(weekday: int) -> date:
    """The last such day that is over everywhere with all of the seven days from it on."""
    latest = _utc_today() - MARGIN - timedelta(days=WEEK)
    return latest - timedelta(days=(latest.weekday() - weekday) % WEEK)


def _utc_today() -> date:
    return datetime.now(UTC).date()
