"""Wall-clock times in zones that put their clocks forward and back."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import InvalidInput
from services.platform import local_time
from tests.support.local_times import LOCAL_TIMES, ZONES


@pytest.mark.parametrize(
    ("wall", "zone", "moment"),
    [
        (datetime(2020, 11, 25, 10, 0), "America/Sao_Paulo", datetime(2020, 11, 25, 13, 0, tzinfo=UTC)),
        # Midnight did not exist on the first day of the Brazilian summer: it went at one.
        (datetime(2018, 11, 4, 0, 0), "America/Sao_Paulo", datetime(2018, 11, 4, 3, 0, tzinfo=UTC)),
        (datetime(2018, 11, 4, 0, 30), "America/Sao_Paulo", datetime(2018, 11, 4, 3, 0, tzinfo=UTC)),
        (datetime(2020, 3, 29, 2, 30), "Europe/Berlin", datetime(2020, 3, 29, 1, 0, tzinfo=UTC)),
        # Half past two came twice: the first.
        (datetime(2020, 10, 25, 2, 30), "Europe/Berlin", datetime(2020, 10, 25, 0, 30, tzinfo=UTC)),
        (datetime(2020, 10, 4, 2, 15), "Australia/Lord_Howe", datetime(2020, 10, 3, 15, 30, tzinfo=UTC)),
        # A day that Samoa left out.
        (datetime(2011, 12, 30, 10, 0), "Pacific/Apia", datetime(2011, 12, 30, 10, 0, tzinfo=UTC)),
    ],
)
def test_it_finds_the_moment(wall: datetime, zone: str, moment: datetime) -> None:
    assert local_time.to_utc(wall, zone) == moment


@given(wall=LOCAL_TIMES, zone=st.sampled_from(ZONES))
def test_it_shows_the_time_that_was_meant_or_the_first_that_exists(wall: datetime, zone: str) -> None:
    moment = local_time.to_utc(wall, zone)
    seen = local_time.to_local(moment, zone)
    assert seen >= wall
    if seen == wall:
        earlier = moment - timedelta(hours=3)
        assert all(local_time.to_local(earlier + timedelta(minutes=step), zone) != wall for step in range(180)), (
            "the first of two"
        )
    else:
        assert local_time.to_local(moment - timedelta(seconds=1), zone) < wall, "nothing between was there"


@given(walls=st.tuples(LOCAL_TIMES, LOCAL_TIMES), zone=st.sampled_from(ZONES))
def test_it_keeps_the_order(walls: tuple[datetime, datetime], zone: str) -> None:
    early, late = sorted(walls)
    moments = local_time.to_utc(early, zone), local_time.to_utc(late, zone)
    assert moments[0] <= moments[1] or local_time.to_local(moments[1], zone) < local_time.to_local(moments[0], zone)


def test_a_day_begins_where_its_first_moment_is() -> None:
    assert local_time.day_start(date(2018, 11, 4), "America/Sao_Paulo") == datetime(2018, 11, 4, 3, tzinfo=UTC)


@pytest.mark.parametrize("name", ["", "Mars/Base", "../etc/passwd", "America"])
def test_it_knows_no_other_zones(name: str) -> None:
    with pytest.raises(InvalidInput):
        local_time.require_zone(name)
    assert not local_time.is_zone(name)
