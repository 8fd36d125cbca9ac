"""The loop of a worker over a table.

It works until it finds nothing, then waits until it is notified or the next row is due.
"""

import threading
from collections.abc import Callable

from services import counters
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
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._watch = FailureLog(name)
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> "WorkerLoop":
        self._thread.start()
        return self

    def ring(self) -> None:
        """There may be work: look now."""
        self._bell.set()

    def stop(self) -> None:
        """End after the step under way."""
        self._stopping.set()
        self._bell.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._bell.clear()
            if pause := self._round():
                self._bell.wait(pause)

    def _round(self) -> float:
        """One step; how long to wait for the bell after it, 0 where there may be more to do."""
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
