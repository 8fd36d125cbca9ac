"""A pool of threads over claimed rows: never more than its threads can do, and nothing lost in silence."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from services.errors import DatabaseUnavailable
from services.failure_log import FailureLog
from services.platform import claim_pool
from services.platform.claim_pool import ClaimPool, settle
from tests.support.waiting import wait_for

AT_ONCE = 3


class Rows:
    """Rows that are due, and work on them that goes on until it is let go."""

    def __init__(self, due: int) -> None:
        self.due = due
        self.rooms: list[int] = []
        self.worked: list[int] = []
        self.free = threading.Event()

    def claim(self, room: int) -> list[int]:
        self.rooms.append(room)
        taken = min(room, self.due)
        self.due -= taken
        return list(range(taken))

    def work(self, row: int) -> None:
        assert self.free.wait(10)
        self.worked.append(row)


@pytest.fixture
def build_pool() -> Iterator[Callable[..., ClaimPool[int]]]:
    with ExitStack() as stack:

        def build(
            rows: Rows, work: Callable[[int], None] | None = None, on_free: Callable[[], None] = lambda: None
        ) -> ClaimPool[int]:
            pool = ClaimPool("test", rows.claim, work or rows.work, AT_ONCE, on_free)
            stack.callback(pool.drain)
            stack.callback(rows.free.set)
            return pool

        yield build


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim_pool, "SETTLE_PAUSE_SECONDS", 0.0)


def test_it_claims_no_more_than_it_has_free_threads_for(build_pool: Callable[..., ClaimPool[int]]) -> None:
    rows = Rows(due=2)
    pool = build_pool(rows)
    assert pool.step() is True
    rows.due = 5
    assert pool.step() is True
    assert rows.rooms == [3, 1]


def test_it_waits_for_room_before_it_claims_again(build_pool: Callable[..., ClaimPool[int]]) -> None:
    rows = Rows(due=5)
    pool = build_pool(rows)
    pool.step()
    waiting = threading.Thread(target=pool.step)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    assert rows.rooms == [3], "nothing is claimed that nobody can begin with"
    rows.free.set()
    waiting.join(5)
    assert not waiting.is_alive()
    wait_for(lambda: len(rows.worked) == 3)
    assert pool.step() is True
    assert rows.rooms[-1] >= 2


def test_it_says_when_nothing_was_due(build_pool: Callable[..., ClaimPool[int]]) -> None:
    assert build_pool(Rows(due=0)).step() is False


def test_it_tells_of_each_piece_that_has_ended_and_has_room_for_another_by_then(
    build_pool: Callable[..., ClaimPool[int]],
) -> None:
    rows, freed = Rows(due=AT_ONCE), threading.Semaphore(0)
    pool = build_pool(rows, on_free=freed.release)
    pool.step()
    assert not freed.acquire(timeout=0.1)
    rows.free.set()
    for _piece in range(AT_ONCE):
        assert freed.acquire(timeout=5)
    pool.step()
    assert rows.rooms == [3, 3]


def test_it_logs_work_that_fails_and_has_its_thread_again(
    build_pool: Callable[..., ClaimPool[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_row: int) -> None:
        raise ValueError("something nobody foresaw")

    rows, freed = Rows(due=1), threading.Event()
    pool = build_pool(rows, fail, on_free=freed.set)
    pool.step()
    assert freed.wait(5)
    assert "loop_failed" in capsys.readouterr().out
    pool.step()
    assert rows.rooms == [3, 3]


def test_it_finishes_what_is_under_way_before_it_is_drained(build_pool: Callable[..., ClaimPool[int]]) -> None:
    rows = Rows(due=AT_ONCE)
    pool = build_pool(rows)
    pool.step()
    rows.free.set()
    pool.drain()
    assert sorted(rows.worked) == [0, 1, 2]


@pytest.mark.usefixtures("no_pauses")
def test_an_outcome_outlives_a_database_that_is_away_for_a_moment() -> None:
    tries: list[int] = []

    def write() -> None:
        tries.append(1)
        if len(tries) < 5:
            raise DatabaseUnavailable("away")

    settle(write, FailureLog("test"))
    assert len(tries) == 5, "written once, and never again after that"


@pytest.mark.usefixtures("no_pauses")
def test_an_outcome_is_given_up_in_the_end_and_left_to_the_lease(capsys: pytest.CaptureFixture[str]) -> None:
    tries: list[int] = []

    def write() -> None:
        tries.append(1)
        raise DatabaseUnavailable("away")

    settle(write, FailureLog("test"), outcomes=7)
    assert len(tries) == claim_pool.SETTLE_ATTEMPTS
    told = capsys.readouterr().out
    assert "database_away" in told
    assert "outcomes" in told
