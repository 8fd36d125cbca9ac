"""A worker's loop: works until it finds nothing, sleeps until it is rung, survives what goes wrong."""

import threading
import time

import pytest
from sqlalchemy import literal_column

from services.platform import worker_loop
from services.platform.worker_loop import Periodic, WorkerLoop, get_seconds_until
from tests.support.databases import Database
from tests.support.waiting import wait_for


def test_it_works_until_there_is_nothing_left_and_then_waits_for_the_bell() -> None:
    left = [3]
    looked = threading.Event()

    def step() -> bool:
        left[0] -= 1
        if left[0] < 0:
            looked.set()
        return left[0] >= 0

    running = WorkerLoop("test", step).start()
    try:
        assert looked.wait(5)
        looked.clear()
        left[0] = 1
        running.wake()
        assert looked.wait(worker_loop.IDLE_SECONDS / 2)
    finally:
        running.stop()


def test_it_looks_again_when_the_next_row_is_due() -> None:
    looks: list[float] = []

    def step() -> bool:
        looks.append(time.monotonic())
        return False

    running = WorkerLoop("test", step, idle_seconds=lambda: 0.05).start()
    try:
        wait_for(lambda: len(looks) > 5, seconds=worker_loop.IDLE_SECONDS)
    finally:
        running.stop()


def test_it_does_not_spin_on_what_is_due_but_held_by_another() -> None:
    looks: list[float] = []

    def step() -> bool:
        looks.append(time.monotonic())
        return False

    running = WorkerLoop("test", step, idle_seconds=lambda: 0.0).start()
    try:
        wait_for(lambda: len(looks) > 5, seconds=worker_loop.IDLE_SECONDS)
    finally:
        running.stop()
    assert looks[5] - looks[0] >= 5 * worker_loop.MIN_PAUSE_SECONDS


def test_it_counts_an_error_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_loop, "ERROR_SECONDS", 0.01)
    steps: list[int] = []

    def step() -> bool:
        steps.append(1)
        if len(steps) < 3:
            raise ValueError("something nobody foresaw")
        return False

    running = WorkerLoop("test", step).start()
    try:
        wait_for(lambda: len(steps) >= 3)
        assert running.errors == 2
    finally:
        running.stop()


class Clock:
    """`time.monotonic` as a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(worker_loop, "time", made)
    return made


def test_a_round_rests_after_it_has_left_nothing_to_do(clock: Clock) -> None:
    more = [True, False]
    rounds = Periodic(lambda: more.pop(0), lambda _took: 10.0)
    assert rounds.step() is True
    assert rounds.idle_seconds() == 0, "there is more to do at once"
    assert rounds.step() is False
    assert rounds.idle_seconds() == 10
    clock.now += 9
    assert rounds.step() is False
    clock.now += 1
    more.append(True)
    assert rounds.step() is True


def test_the_rest_may_follow_from_how_long_the_round_took(clock: Clock) -> None:
    def work() -> bool:
        clock.now += 2
        return False

    rounds = Periodic(work, lambda took: 4 * took)
    rounds.step()
    assert rounds.idle_seconds() == 8


def test_a_hurried_round_comes_at_once_but_not_too_soon_after_the_last(clock: Clock) -> None:
    worked: list[float] = []

    def work() -> bool:
        worked.append(clock.now)
        return False

    rounds = Periodic(work, lambda _took: 10.0, hurry_seconds=1.0)
    rounds.step()
    clock.now += 0.25
    rounds.hurry()
    assert rounds.idle_seconds() == 0.75
    rounds.step()
    clock.now += 0.75
    rounds.step()
    clock.now += 5
    rounds.hurry()
    rounds.step()
    assert worked == [1000, 1001, 1006]


def test_a_round_that_failed_is_due_still(clock: Clock) -> None:
    worked: list[int] = []

    def work() -> bool:
        worked.append(1)
        if len(worked) == 1:
            raise ValueError("something nobody foresaw")
        return False

    rounds = Periodic(work, lambda _took: 10.0)
    with pytest.raises(ValueError, match="nobody foresaw"):
        rounds.step()
    rounds.step()
    assert len(worked) == 2


@pytest.mark.parametrize(
    ("moment", "least", "most"),
    [("clock_timestamp() + interval '1 minute'", 59, 60), ("clock_timestamp() - interval '1 minute'", 0, 0)],
)
def test_it_asks_the_database_how_long_it_is_until_a_moment(
    database: Database, moment: str, least: float, most: float
) -> None:
    seconds = get_seconds_until(literal_column(moment))
    assert seconds is not None
    assert least <= seconds <= most


def test_it_knows_of_no_moment_where_there_is_none(database: Database) -> None:
    assert get_seconds_until(literal_column("null::timestamptz")) is None
