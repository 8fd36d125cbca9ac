"""What goes wrong in a loop is told once a minute and how often it did; a database that is away never at length."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from psycopg_pool import PoolTimeout

from services import failure_log, log, settings
from services.db.actor import SYSTEM
from services.db.embedded import EmbeddedPostgres
from services.db.engine import transaction
from services.errors import DatabaseUnavailable
from services.failure_log import QUIET_SECONDS, FailureLog
from tests.support.databases import Database, unreachable_database
from tests.support.process_state import forget_process_state

LOST = psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly\n\tmore of it")
Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """What this process has logged since the last look, as a real process would."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    settings.get.cache_clear()
    root = logging.getLogger()
    before = root.handlers[:], root.level
    log.configure("worker")
    yield lambda: [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    root.handlers[:], root.level = before
    structlog.reset_defaults()
    forget_process_state()


@dataclass
class LoggedLoop:
    """One loop's log of its failures, on a clock that only moves when told to."""

    lines: Lines
    now: float = 1_000.0
    log: FailureLog = field(init=False)

    def __post_init__(self) -> None:
        self.log = FailureLog("send", clock=lambda: self.now)

    def told(self) -> list[tuple[str, int]]:
        """Event and count of what was written since the last look."""
        return [(line["event"], line["times" if "times" in line else "tries"]) for line in self.lines()]


@pytest.fixture
def loop(lines: Lines) -> LoggedLoop:
    return LoggedLoop(lines)


def raised(sentence: str = "nobody foresaw this") -> ValueError:
    """As it comes out of a loop, with where it came from."""
    try:
        raise ValueError(sentence)
    except ValueError as error:
        return error


def test_it_tells_of_a_database_that_is_away_once_a_minute_and_when_it_is_back(loop: LoggedLoop) -> None:
    for second in range(90):
        loop.now = 1_000.0 + second
        loop.log.failed(LOST)
    assert loop.told() == [("database_away", 1), ("database_away", 61)]
    loop.now += 0.5
    loop.log.worked()
    (back,) = loop.lines()
    assert (back["event"], back["loop"], back["seconds"], back["tries"]) == ("database_back", "send", 89.5, 90)
    loop.log.worked()
    assert loop.lines() == []


def test_it_says_since_when_and_why_without_a_traceback(loop: LoggedLoop) -> None:
    loop.log.failed(LOST, rows=3)
    loop.now += QUIET_SECONDS
    loop.log.failed(LOST)
    first, second = loop.lines()
    assert first["since"] == second["since"]
    assert (first["level"], first["loop"], first["rows"]) == ("warning", "send", 3)
    assert first["error"] == "OperationalError"
    assert first["reason"] == "consuming input failed: server closed the connection unexpectedly"
    assert "exception" not in first


def test_it_begins_anew_with_the_next_outage(loop: LoggedLoop) -> None:
    for _outage in range(2):
        loop.log.failed(LOST)
        loop.now += 5
        loop.log.worked()
        assert loop.told() == [("database_away", 1), ("database_back", 1)]
        loop.now += QUIET_SECONDS
        loop.log.worked()


def test_it_writes_no_more_where_the_database_comes_and_goes_and_loses_no_count(loop: LoggedLoop) -> None:
    for _second in range(120):
        loop.log.failed(LOST)
        loop.now += 0.5
        loop.log.worked()
        loop.now += 0.5
    loop.now += QUIET_SECONDS
    loop.log.worked()
    told = loop.told()
    assert len(told) <= 6
    assert sum(count for event, count in told if event == "database_back") == 120


def test_it_keeps_the_traceback_of_any_other_error_and_counts_what_repeats_it(loop: LoggedLoop) -> None:
    for second in range(61):
        loop.now = 1_000.0 + second
        loop.log.failed(raised())
        loop.log.worked()
    first, second_line = loop.lines()
    assert (first["event"], first["level"], first["times"]) == ("loop_failed", "error", 1)
    assert (second_line["event"], second_line["times"]) == ("loop_failed", 61)
    assert "nobody foresaw this" in first["exception"]
    assert "nobody foresaw this" in second_line["exception"]


def test_it_tells_how_often_it_was_where_an_error_does_not_come_again(loop: LoggedLoop) -> None:
    for _round in range(3):
        loop.log.failed(raised())
    loop.log.worked()
    assert loop.told() == [("loop_failed", 1)]
    loop.now += QUIET_SECONDS
    loop.log.worked()
    assert loop.told() == [("loop_works", 3)]
    loop.log.worked()
    assert loop.told() == []


def test_it_tells_each_error_that_is_another_one(loop: LoggedLoop) -> None:
    loop.log.failed(raised())
    try:
        raise ValueError("from another place")
    except ValueError as error:
        loop.log.failed(error)
    loop.log.failed(TypeError("of another kind"))
    loop.log.failed(LOST)
    assert [event for event, _times in loop.told()] == ["loop_failed"] * 3 + ["database_away"]


def test_it_knows_a_database_that_is_away_whoever_says_so(database: Database, cluster: EmbeddedPostgres) -> None:
    with transaction(SYSTEM):
        pass
    with unreachable_database(cluster, database.one("select current_database()")):
        with pytest.raises(DatabaseUnavailable) as caught, transaction(SYSTEM):
            pass
        with pytest.raises(psycopg.OperationalError) as refused:
            psycopg.connect(database.url)
    errors = [caught.value, refused.value, PoolTimeout("30 s"), DatabaseUnavailable("too much is waiting")]
    assert all(map(failure_log.is_database_away, errors))


@pytest.mark.usefixtures("database")
def test_it_takes_no_other_refusal_for_an_absence() -> None:
    """A statement that was cancelled, a deadlock, a full disk: psycopg calls them operational, too."""
    with pytest.raises(DatabaseUnavailable) as caught, transaction(SYSTEM) as tx:
        tx.exec_driver_sql("set local statement_timeout = 1")
        tx.exec_driver_sql("select pg_sleep(10)")
    assert not failure_log.is_database_away(caught.value)


def test_it_counts_what_the_libraries_of_the_jobs_say_of_it(lines: Lines) -> None:
    pool, worker = logging.getLogger("psycopg.pool"), logging.getLogger("procrastinate.worker.worker")
    pool.warning("error connecting in %r: %s", "pool-1", LOST)
    pool.warning("discarding closed connection: %s", "<connection>")
    pool.warning("reconnection attempt in pool %r failed after %s sec", "pool-1", 300)
    try:
        raise RuntimeError("Database error.") from LOST
    except RuntimeError as error:
        worker.error("Side task listener failed with exception: %s, stopping worker", error, exc_info=error)
    failure_log.get_jobs_log().worked()
    away, back = lines()
    assert (away["event"], away["loop"]) == ("database_away", "jobs")
    assert (back["event"], back["tries"]) == ("database_back", 4)


def test_it_leaves_what_else_they_say(lines: Lines) -> None:
    logging.getLogger("psycopg.pool").warning("rolling back returned connection: %s", "<connection>")
    error = raised()
    logging.getLogger("procrastinate.worker").error("Job look_at_servers[1]() ended: Error", exc_info=error)
    pool, worker = lines()
    assert pool["event"] == "rolling back returned connection: <connection>"
    assert "nobody foresaw this" in worker["exception"]


def test_it_takes_the_traceback_off_what_any_other_library_says_of_it(lines: Lines) -> None:
    error = DatabaseUnavailable("OperationalError")
    logging.getLogger("streamlit.runtime").error("Uncaught %s execution", "app", exc_info=error)
    (line,) = lines()
    assert line["event"] == "Uncaught app execution: OperationalError"
    assert "exception" not in line
