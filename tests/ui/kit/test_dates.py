"""The viewer's own clock, on top of the one place that knows time zones."""

from datetime import UTC, date, datetime
from types import SimpleNamespace

import pytest

from tests.support.local_times import SAO_PAULO
from ui.kit import dates


def tell_zone(monkeypatch: pytest.MonkeyPatch, told: str | None) -> None:
    """What the viewer's browser says of its time zone."""
    monkeypatch.setattr(dates, "st", SimpleNamespace(context=SimpleNamespace(timezone=told)))


def test_it_reads_a_moment_on_the_clock_of_the_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    tell_zone(monkeypatch, "Asia/Kolkata")
    assert dates.zone_name() == "Asia/Kolkata"
    assert dates.to_local(datetime(2020, 11, 25, 12, tzinfo=UTC)) == datetime(2020, 11, 25, 17, 30)


@pytest.mark.parametrize("told", [None, "", "Mars/Base", "../etc/passwd", "Europe"])
def test_it_takes_the_usual_zone_where_the_browser_tells_none(
    monkeypatch: pytest.MonkeyPatch, told: str | None
) -> None:
    tell_zone(monkeypatch, told)
    assert dates.zone_name() == dates.FALLBACK_ZONE


def test_a_day_without_midnight_begins_with_its_first_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    tell_zone(monkeypatch, SAO_PAULO)
    assert dates.start_of_day(date(2018, 11, 4)) == datetime(2018, 11, 4, 3, tzinfo=UTC)
