"""Days tied to the one on which the tests run.

The database asks its own clock what is past and what is to come: a date that somebody wrote down is ahead of it this
week and behind it the next. So a test has days from here, or of a year that is over for every clock
(`tests/test_days.py`). Weekdays count from 0, Monday.
"""

from datetime import UTC, date, datetime, timedelta

WEEK = 7
# More than a time zone, or a midnight that passes under the tests, can make of a day.
SPARE = timedelta(days=2)


def coming(weekday: int) -> date:
    """The first such day that is ahead everywhere, for as long as the tests run."""
    earliest = _today() + SPARE
    return earliest + timedelta(days=(weekday - earliest.weekday()) % WEEK)


def gone(weekday: int) -> date:
    """The last such day that is over everywhere with all of the seven days from it on."""
    latest = _today() - SPARE - timedelta(days=WEEK)
    return latest - timedelta(days=(latest.weekday() - weekday) % WEEK)


def _today() -> date:
    return datetime.now(UTC).date()
