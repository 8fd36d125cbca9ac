"""The rest between two messages of one number."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.messaging.pace import JITTER, Pace


@given(seconds=st.floats(0, 3600), draw=st.floats(0, 1))
def test_a_gap_lies_in_the_range_around_the_pace(seconds: float, draw: float) -> None:
    pace = Pace(seconds)
    assert pace.gap_at(0) <= pace.gap_at(draw) <= pace.longest_gap
    assert pace.gap_at(0) <= pace.gap() <= pace.longest_gap


def test_its_range_is_the_jitters() -> None:
    shortest, longest = JITTER
    assert Pace(10).gap_at(0) == timedelta(seconds=10 * shortest)
    assert Pace(10).longest_gap == timedelta(seconds=10 * longest)


def test_no_pace_is_no_gap() -> None:
    assert Pace(0).longest_gap == timedelta(0)
