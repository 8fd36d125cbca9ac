"""Logs the failures of a process's outermost loops: one line a loop and minute, however often it fails.

A database that is away is a known failure: `database_away` tells of it without a traceback, and `database_back` when it
is over. Any other error is `loop_failed`, with its traceback. What is not logged at once is counted and logged with the
next line, at the latest a minute later.
"""

import functools
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from traceback import walk_tb

import psycopg
import structlog

from services.errors import DatabaseUnavailable

log = structlog.get_logger(__name__)

QUIET_SECONDS = 60.0
# The SQLSTATEs of a server that is not there for us any more, or not yet, by class and by code (PostgreSQL's appendix
# "Error Codes"). Others of the same Python class are a deadlock, a full disk: not the database's absence.
AWAY_CLASS, AWAY_CODES = "08", frozenset({"57P01", "57P02", "57P03", "57P04", "57P05"})
AWAY_KIND = "away"
# Whoever runs the jobs: procrastinate, and psycopg's pool of its connections.
JOBS_LIBRARIES = frozenset({"procrastinate", "psycopg"})
# What that pool says of a connection that it has lost without naming an error.
POOL_LOGGER, POOL_LOSS_PREFIXES = "psycopg.pool", ("discarding ", "reconnection attempt ")


@dataclass
class _RepeatedFailure:
    """One kind of failure of one loop. `began`, `over` and `quiet_until` are on the watch's clock.

    Of the `times` that it happened since then the last line has told `told`.
    """

    since: datetime
    began: float
    quiet_until: float
    times: int = 0
    told: int = 0
    over: float | None = None


class FailureLog:
    """Tells what goes wrong in one loop, which `loop` names in the log. For any number of threads."""

    def __init__(self, loop: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._loop = loop
        self._clock = clock
        self._lock = threading.Lock()
        self._troubles: dict[Hashable, _RepeatedFailure] = {}

    def failed(self, error: BaseException, **about: object) -> None:
        """A round has failed: tell it with `about`, unless the same was told less than a minute ago."""
        away = is_database_away(error)
        with self._lock:
            trouble = self._count(AWAY_KIND if away else _get_origin(error))
            if trouble is None:
                return
            counted = {"loop": self._loop, "since": trouble.since.isoformat(), "times": trouble.times}
        if away:
            log.warning("database_away", **counted, **_get_reason(error), **about)
        else:
            log.error("loop_failed", **counted, error=type(error).__name__, exc_info=error, **about)

    def worked(self) -> None:
        """A round went well: tell that what was wrong is over."""
        if self._troubles:
            with self._lock:
                ended = list(self._end())
            for line in ended:
                # As loud as its beginning: whoever reads no lines below a warning would believe that it lasts.
                log.warning(**line)

    def _count(self, kind: Hashable) -> _RepeatedFailure | None:
        """The trouble of this kind, where it is to be told now."""
        now = self._clock()
        trouble = self._troubles.setdefault(kind, _RepeatedFailure(datetime.now(UTC), now, now))
        if trouble.times == 0:
            trouble.since, trouble.began = datetime.now(UTC), now
        trouble.times += 1
        trouble.over = None
        if now < trouble.quiet_until:
            return None
        trouble.told, trouble.quiet_until = trouble.times, now + QUIET_SECONDS
        return trouble

    def _end(self) -> Iterator[dict[str, object]]:
        """The lines to write. What comes back within the minute makes no new ones until that is over."""
        now = self._clock()
        for kind, trouble in list(self._troubles.items()):
            if trouble.over is None:
                trouble.over = now
            quiet = now < trouble.quiet_until
            back = kind == AWAY_KIND and trouble.told > 0
            if back or (trouble.times > trouble.told and not quiet):
                yield {
                    "event": "database_back" if kind == AWAY_KIND else "loop_works",
                    "loop": self._loop,
                    "since": trouble.since.isoformat(),
                    "seconds": round(trouble.over - trouble.began, 1),
                    "tries": trouble.times,
                }
                trouble.times = trouble.told = 0
            if not quiet:
                del self._troubles[kind]


def is_database_away(error: BaseException) -> bool:
    """Whether `error` says no more than that the database is away: lost, not reachable, shutting down, starting."""
    cause = _get_root_cause(error)
    if isinstance(cause, psycopg.OperationalError):
        return cause.sqlstate is None or cause.sqlstate.startswith(AWAY_CLASS) or cause.sqlstate in AWAY_CODES
    return isinstance(error, DatabaseUnavailable) and not isinstance(cause, psycopg.DatabaseError)


@functools.cache
def get_jobs_log() -> FailureLog:
    """The watch over this process's jobs, whose libraries keep their connections themselves."""
    return FailureLog("jobs")


def filter_record(record: logging.LogRecord) -> bool:
    """The filter of all lines: no library writes a traceback for a database that is away.

    Those of the jobs' libraries are counted instead of written; those of any other are written in one line.
    """
    if isinstance(record.msg, dict):  # our own
        return True
    error = _get_error(record)
    if error is None or not is_database_away(error):
        return True
    if record.name.partition(".")[0] in JOBS_LIBRARIES:
        get_jobs_log().failed(error)
        return False
    record.msg, record.args = f"{record.getMessage()}: {_get_reason(error)['reason']}", ()
    record.exc_info = record.exc_text = None
    return True


def _get_error(record: logging.LogRecord) -> BaseException | None:
    """The error that a library's line is about."""
    if record.exc_info and record.exc_info[1] is not None:
        return record.exc_info[1]
    if record.name == POOL_LOGGER and str(record.msg).startswith(POOL_LOSS_PREFIXES):
        return psycopg.OperationalError(record.getMessage())
    return next((part for part in record.args or () if isinstance(part, Exception)), None)


def _get_origin(error: BaseException) -> Hashable:
    """The same for two errors of one class that were raised in the same place, on the same way there."""
    return type(error), *((frame.f_code, line) for frame, line in walk_tb(error.__traceback__))


def _get_root_cause(error: BaseException) -> BaseException:
    """What was raised first, psycopg's own error where there is one."""
    while error.__cause__ is not None and not isinstance(error, psycopg.Error):
        error = error.__cause__
    return error


def _get_reason(error: BaseException) -> dict[str, str]:
    """libpq's text names host and port and never the password, and there is no row yet that it could quote."""
    cause = _get_root_cause(error)
    return {"error": type(cause).__name__, "reason": next(iter(str(cause).strip().splitlines()), "")}
