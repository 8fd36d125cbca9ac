"""No test has a date of its own that a clock will pass: such days are tied to the one on which the tests run."""

import ast
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.support import days

ROOT = Path(__file__).parents[1]
FILES = sorted(path for room in ("tests", "bench") for path in (ROOT / room).rglob("*.py"))
# Over for every clock that these tests have met; from it on a date depends on who reads it when.
FIRST_YEAR = 2025
# As ISO 8601 and iCalendar, in digits as Brazilians, and in words.
FORMS = (
    r"\b(20\d\d)-[01]\d-[0-3]\d",
    r"\b(20\d\d)[01]\d[0-3]\dT\d{6}",
    r"\b[0-3]\d/[01]\d/(20\d\d)\b",
    r"\b[A-Za-zç]{3,9} (?:de )?(20\d\d)\b",
)
WRITTEN = re.compile("|".join(FORMS))


def years(source: str) -> Iterator[tuple[int, int]]:
    """Line and year of every date that stands in a program."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("date", "datetime") and isinstance(node.args[0].value, int):
                yield node.lineno, node.args[0].value
        elif isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            text = node.value if isinstance(node.value, str) else node.value.decode(errors="replace")
            for found in WRITTEN.finditer(text):
                yield node.lineno, int(next(year for year in found.groups() if year))


def test_it_has_no_date_that_a_clock_will_pass() -> None:
    late = [
        f"{path.relative_to(ROOT)}:{line}: {year}"
        for path in FILES
        if path != Path(__file__)
        for line, year in years(path.read_text())
        if year >= FIRST_YEAR
    ]
    assert late == [], "take a day from tests.support.days, or where no clock is asked one before 2025"


@pytest.mark.parametrize(
    "source",
    [
        "datetime(2026, 11, 25, 10, 0)",
        "datetime.date(2026, 11, 25)",
        "'2026-11-25 12:00Z'",
        'b\'{"runAt": "2026-11-25T12:00:00"}\'',
        "f'FREQ=DAILY;UNTIL=20261101T000000;{x}'",
        "'25/11/2026 10:00'",
        "'novembro de 2026'",
        "'22 Nov 2026'",
    ],
)
def test_it_sees_a_date_however_it_is_written(source: str) -> None:
    assert list(years(source)) == [(1, 2026)]


def test_it_sees_no_date_in_other_numbers() -> None:
    assert list(years("x(2048), range(2000), '5511987652026', 'a2026-1', '12025550123'")) == []


@pytest.mark.parametrize("weekday", range(7))
def test_its_days_are_past_or_to_come_in_every_zone(weekday: int) -> None:
    today = datetime.now(UTC).date()
    coming, gone = days.future_weekday(weekday), days.past_week_from(weekday)
    assert [day.weekday() for day in (coming, gone)] == [weekday, weekday]
    assert today + timedelta(days=1) < coming <= today + timedelta(days=8)
    assert today - timedelta(days=15) <= gone
    assert gone + timedelta(days=6) < today - timedelta(days=1)
    assert isinstance(coming, date)
