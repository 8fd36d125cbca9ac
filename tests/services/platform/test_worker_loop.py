"""A worker's loop: works until it finds nothing, sleeps until it is rung, survives what goes wrong."""

import threading
import time

import pytest

from services.platform import worker_loop
from services.platform.worker_loop import WorkerLoop
from tests.support.installation import wait_for


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
        running.ring()
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
