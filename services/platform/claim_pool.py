"""A pool of threads for work that is claimed in a table.

A step claims as many pieces as there are free threads, and each thread works on one piece. The pool knows nothing of
leases: `claim` takes the rows with a lease, and `work` settles or renews it. Where this process dies, the lease ends
and another worker claims the rows.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from services.errors import DatabaseUnavailable
from services.failure_log import FailureLog

# Together a good minute.
SETTLE_ATTEMPTS = 20
SETTLE_PAUSE_SECONDS, MAX_SETTLE_PAUSE_SECONDS = 0.1, 5.0

Claim = TypeVar("Claim")


class ClaimPool(Generic[Claim]):
    """Works on up to `at_once` claims at the same time. Start more workers to go faster."""

    def __init__(
        self,
        name: str,
        claim: Callable[[int], Sequence[Claim]],
        work: Callable[[Claim], None],
        at_once: int,
        on_free: Callable[[], None] = lambda: None,
    ) -> None:
        """`claim(room)` takes up to `room` rows; `work` does one of them, and what it raises is only logged.

        `on_free` is called, in a thread of the pool, whenever a piece has ended: there is room for more.
        """
        self._claim = claim
        self._work = work
        self._at_once = at_once
        self._on_free = on_free
        self._under_way: set[Future[None]] = set()
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix=name)
        self._watch = FailureLog(name)

    def step(self) -> bool:
        """Claim as much as there is room for and begin with it; False where nothing was due.

        Waits for room where every thread is busy.
        """
        self._under_way = {future for future in self._under_way if not future.done()}
        room = self._at_once - len(self._under_way)
        if room == 0:
            wait(self._under_way, return_when=FIRST_COMPLETED)
            return True
        claimed = self._claim(room)
        self._under_way |= {self._begin(row) for row in claimed}
        return bool(claimed)

    def drain(self) -> None:
        """Take nothing new and wait for what is under way."""
        self._pool.shutdown(wait=True)

    def _begin(self, row: Claim) -> Future[None]:
        future = self._pool.submit(self._work, row)
        future.add_done_callback(self._end)
        return future

    def _end(self, future: Future[None]) -> None:
        error = future.exception()
        if error is None:
            self._watch.worked()
        else:
            self._watch.failed(error)
        self._on_free()


def settle(write: Callable[[], object], watch: FailureLog, **about: object) -> None:
    """Write down what became of a claim, again and again while the database is away.

    What has happened is known only here: without this, a database that is away for a moment would have it done twice
    or called uncertain. After a good minute it is given up; then the lease's end decides. `about` goes into the log.
    """
    pause = threading.Event()
    for attempt in range(SETTLE_ATTEMPTS):
        try:
            write()
        except DatabaseUnavailable as error:
            watch.failed(error, **about)
            pause.wait(min(SETTLE_PAUSE_SECONDS * 2**attempt, MAX_SETTLE_PAUSE_SECONDS))
        else:
            watch.worked()
            return
