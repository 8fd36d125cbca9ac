"""The loop of a worker over a table.

It works until it finds nothing, then waits until it is notified or the next row is due. What has no rows to wait for
is done in rounds (`Periodic`).
"""

import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, func, select

from services import counters
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.failure_log import FailureLog

# The safety reread for a lost notification, and the pause after an error.
IDLE_SECONDS = 2.0
# What is due but held by another worker would else be asked for without a pause.
MIN_PAUSE_SECONDS = 0.02
ERROR_SECONDS = 1.0


class WorkerLoop:
    """Runs `step` in a thread of its own. `step` returns a truthy value while there may be more to do."""

    def __init__(
        self, name: str, step: Callable[[], object], idle_seconds: Callable[[], float | None] = lambda: None
    ) -> None:
        """`idle_seconds` tells when the next row is due, None where none is; asked only after `step` found nothing."""
        self.name = name
        self.errors = 0
        self._step = step
        self._idle_seconds = idle_seconds
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._watch = FailureLog(name)
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> "WorkerLoop":
        self._thread.start()
        return self

    def wake(self) -> None:
        """There may be work: look now."""
        self._wake.set()

    def stop(self) -> None:
        """End after the step under way."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            if pause := self._round():
                self._wake.wait(pause)

    def _round(self) -> float:
        """One step; how long to wait for a notification after it, 0 where there may be more to do."""
        try:
            more = self._step()
            due = None if more else self._idle_seconds()
        # The outermost loop of this thread: whatever went wrong, the next round may go right.
        except Exception as error:  # noqa: BLE001 (told by the watch)
            self.errors += 1
            counters.get_counters().loop_errors.labels(self.name).inc()
            self._watch.failed(error)
            return ERROR_SECONDS
        self._watch.worked()
        if more:
            return 0.0
        return IDLE_SECONDS if due is None else min(max(due, MIN_PAUSE_SECONDS), IDLE_SECONDS)


class Periodic:
    """Rounds of one worker, with a pause after each that left nothing to do. `step` and `idle_seconds` are for a loop.

    The pauses are those of this process: what must be done once for the whole installation sees to that itself.
    """

    def __init__(
        self, work: Callable[[], bool], pause_seconds: Callable[[float], float], hurry_seconds: float = 0.0
    ) -> None:
        """`work` is one round, True where there is more to do at once; a round that raises is due still.

        `pause_seconds` is asked after a round with nothing left: how long to rest, given how long the round took.
        `hurry_seconds` is the least time from the beginning of one round to that of a hurried one.
        """
        self._work = work
        self._pause_seconds = pause_seconds
        self._hurry_seconds = hurry_seconds
        self._next = self._last = 0.0
        self._hurried = False

    def hurry(self) -> None:
        """Make the next round due, also from another thread while one is under way."""
        self._hurried = True
        self._next = min(self._next, self._last + self._hurry_seconds)

    def step(self) -> bool:
        """One round where it is due. True where there is more to do at once."""
        started = time.monotonic()
        if started < self._next:
            return False
        self._last = started
        self._hurried = False
        more = self._work()
        if not more:
            pause = self._pause_seconds(time.monotonic() - started)
            self._next = time.monotonic() + pause
            if self._hurried:
                self.hurry()
        return more

    def idle_seconds(self) -> float:
        """Seconds until the next round."""
        return max(self._next - time.monotonic(), 0.0)


def get_seconds_until(moment: ColumnElement[Any]) -> float | None:
    """Seconds until `moment` by the database's clock: 0 once it is over, None where it is null."""
    with transaction(SYSTEM) as tx:
        seconds = tx.execute(select(func.extract("epoch", moment - func.clock_timestamp()))).scalar_one()
    return None if seconds is None else max(float(seconds), 0.0)
