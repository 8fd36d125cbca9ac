"""Delivers claimed messages with several calls under way.

Each turn is one transaction (`delivery.take_turn`): it writes down all deliveries that have ended, frees their lanes,
and claims as many as there is room for. A message that a dead worker had in `sending` becomes `uncertain`: it is never
sent a second time.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import structlog

from services import counters
from services.errors import DatabaseUnavailable
from services.failure_log import FailureLog
from services.messaging.attempt import deliver
from services.messaging.claims import Claimed, Ended, Outcome
from services.messaging.delivery import take_turn
from services.messaging.lanes import LEASE, next_due_in
from services.messaging.pace import Pace
from services.platform.claim_pool import settle

log = structlog.get_logger(__name__)
# The longest wait for room in one step: a worker that is told to stop must hear of it.
ROOM_SECONDS = 1.0
# How long what has ended waits for more that ends: less than a person or a pace notices.
GATHER_SECONDS = 0.01


class Dispatcher:
    """Delivers from all lanes with up to `concurrency` calls under way. Start more processes to go faster."""

    def __init__(
        self, concurrency: int, pace: Pace, lease: timedelta = LEASE, on_free: Callable[[], None] = lambda: None
    ) -> None:
        """`on_free` is called, in a sender's thread, when deliveries have ended: `step` has something to do."""
        self._on_free = on_free
        self._concurrency = concurrency
        self._pace = pace
        self._lease = lease
        self._lock = threading.Condition()
        self._under_way = 0
        self._ended: list[Ended] = []
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="send")
        self._watch = FailureLog("deliver")

    def step(self) -> bool:
        """Take a turn and start delivering what it claimed; False where there was nothing to do.

        Waits for room where every sender is busy.
        What has ended stays noted until it is committed: a database that is away for a moment must not turn a known
        outcome into an uncertain one.
        """
        with self._lock:
            # A turn costs much the same for one as for many; while half of the calls are out, more end in a moment.
            self._lock.wait_for(self._gathered, GATHER_SECONDS)
            ended = list(self._ended)
            room = self._concurrency - self._under_way + len(ended)
            if not room:
                self._lock.wait(ROOM_SECONDS)
                return True
        claimed, lanes_seen = take_turn(ended, room, self._pace, self._lease)
        with self._lock:
            del self._ended[: len(ended)]
            self._under_way += len(claimed) - len(ended)
            more = lanes_seen > 0 or bool(self._ended)
        for one in claimed:
            self._pool.submit(self._serve, one)
        return more

    def idle_seconds(self) -> float | None:
        """How long `step` would find nothing, as far as the tables know."""
        return next_due_in()

    def drain(self) -> None:
        """Take nothing new, wait for the calls under way, and write down what became of them."""
        self._pool.shutdown(wait=True)
        settle(lambda: take_turn(self._ended, 0, self._pace), self._watch, outcomes=len(self._ended))

    def _serve(self, claimed: Claimed) -> None:
        outcome: Outcome | None = None
        with structlog.contextvars.bound_contextvars(request_id=claimed.request_id, message=str(claimed.id)):
            try:
                outcome = deliver(claimed)
                state, failure, waiting = (outcome.state, outcome.failure, outcome.waiting) if outcome else [None] * 3
                log.info("delivered", state=state, failure=failure, waiting=waiting)
                self._watch.worked()
            except DatabaseUnavailable as error:
                self._watch.failed(error)
            # The outermost loop of this thread: whatever went wrong, the lane must be freed. What had begun to be sent
            # is then called uncertain by whoever claims the lane next.
            except Exception as error:
                log.exception("delivery_failed", error=type(error).__name__)
            counters.get_counters().sends.labels(_counted_as(outcome)).inc()
        with self._lock:
            self._ended.append((claimed, outcome))
            told = len(self._ended) == 1 or self._gathered()
            if told:
                self._lock.notify()
        if told:
            self._on_free()

    def _gathered(self) -> bool:
        return 2 * len(self._ended) >= self._under_way


def _counted_as(outcome: Outcome | None) -> str:
    if outcome is None:
        return "taken_over"
    return "put_back" if outcome.retry else str(outcome.state)
