"""When a number counts as restricted, when it is probed, and when it is open again. Pure."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.outreach.restriction import (
    DELIVERED_PROBES,
    LONGEST_PROBE_WAIT,
    REFUSALS_IN_A_ROW,
    UNRESTRICTED,
    ColdOutcome,
    Restriction,
)

NOON = datetime(2020, 11, 25, 12, tzinfo=UTC)
MARKS = {"r": ColdOutcome.REFUSED, "d": ColdOutcome.DELIVERED, "a": ColdOutcome.ACCEPTED}


def after(marks: str, begin: Restriction = UNRESTRICTED, start: datetime = NOON) -> Restriction:
    """One message a minute from `start` on, of each of which is known a second later what became of it."""
    for minute, mark in enumerate(marks):
        sent_at = start + timedelta(minutes=minute)
        begin = begin.after_release(sent_at).after_outcome(MARKS[mark], sent_at, sent_at + timedelta(seconds=1))
    return begin


@pytest.mark.parametrize(
    ("marks", "restricted"),
    [("rr", False), ("rrr", True), ("rrdr", False), ("rrdrrr", True), ("rara", False), ("rarar", True), ("ddd", False)],
)
def test_three_refusals_in_a_row_restrict(marks: str, restricted: bool) -> None:
    assert (after(marks).restricted_at is not None) is restricted


def test_a_delivery_of_before_the_refusals_does_not_count_against_them() -> None:
    twice = after("rr")
    earlier = NOON - timedelta(hours=9)
    assert twice.after_outcome(ColdOutcome.DELIVERED, earlier, NOON + timedelta(minutes=2)) == twice


def test_the_first_probe_is_after_six_hours_and_each_refusal_doubles_the_wait() -> None:
    found, waits = after("rrr"), []
    for _number in range(6):
        assert found.probe_at is not None
        at = found.probe_at
        found = after("r", found, at)
        assert found.probe_at is not None
        waits.append(round((found.probe_at - at) / timedelta(hours=1)))
    assert waits == [12, 24, 48, 96, 96, 96]


def test_nobody_else_is_tried_before_a_probe_is_decided() -> None:
    found = after("rrr")
    assert found.probe_at is not None
    assert found.after_release(found.probe_at).probe_at == found.probe_at + timedelta(hours=6)


def test_two_delivered_probes_in_a_row_open_it() -> None:
    found = after("rrr")
    for marks, is_open in (("d", False), ("r", False), ("d", False), ("d", True)):
        assert found.probe_at is not None
        found = after(marks, found, found.probe_at)
        assert (found == UNRESTRICTED) is is_open


def test_what_left_before_the_restriction_is_no_probe() -> None:
    found = after("rrr")
    for outcome in ColdOutcome:
        assert found.after_outcome(outcome, NOON + timedelta(minutes=1), NOON + timedelta(hours=1)) == found


def test_it_is_forgotten_after_a_week_in_which_nobody_was_left_to_probe_with() -> None:
    found = after("rrr")
    assert found.probe_at is not None
    assert found.at(found.probe_at + timedelta(days=6)) == found
    assert found.at(found.probe_at + timedelta(days=7)) == UNRESTRICTED


@given(st.lists(st.tuples(st.sampled_from(sorted(MARKS)), st.integers(0, 6000)), max_size=30))
def test_whatever_comes_in_whatever_order_its_parts_fit_together(told: list[tuple[str, int]]) -> None:
    found = UNRESTRICTED
    for number, (mark, sent) in enumerate(told):
        now = NOON + timedelta(minutes=200 * number)
        found = found.after_outcome(MARKS[mark], NOON + timedelta(minutes=sent), now)
        assert (found.restricted_at is None) == (found.probe_at is None) == (found.refusals < REFUSALS_IN_A_ROW)
        assert found.delivered_probes < DELIVERED_PROBES
        assert found.probe_at is None or found.probe_at - now <= LONGEST_PROBE_WAIT
