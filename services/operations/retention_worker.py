"""Carries out retention runs, one batch or one session a step."""

import threading
import time
from datetime import timedelta

import structlog
from sqlalchemy import func, text, update
from sqlalchemy.exc import SQLAlchemyError

from services import settings
from services.db.actor import SYSTEM
from services.db.advisory_lock import ProcessLock
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.operations import cleanup_runs
from services.operations.retention import (
    ExpiredKind,
    Run,
    add_to_counts,
    count_expired,
    get_retention_periods,
    get_run,
    list_runs,
    request_hourly_run,
    select_runs,
)
from services.operations.session_purge import SkippedInRun, claim_session, purge_session
from services.platform import media_store
from services.platform.media_store import MediaUnavailable

log = structlog.get_logger(__name__)

# Enough to make the transaction's own cost small, little enough that nobody waits for its locks.
BATCH_ROWS = 1000
# Files go one by one while their rows are held.
MEDIA_ROWS = 50
# Longer than any store takes for so many files; half of it is left to whoever hangs in the last one.
MEDIA_LEASE = timedelta(minutes=10)
LOCK_NAME = "cleanup"
# Between two looks at a run that another process carries out.
POLL_SECONDS = 0.2


class RetentionWorker:
    """Carries runs out, a batch or a session a step, so that it can be stopped between any two; one a process.

    Only one process of the installation works at a time, which the advisory lock sees to. It only keeps the order: rows
    and counters would stay right without it.
    """

    def __init__(self) -> None:
        self._lock = ProcessLock(settings.get().database.system_url.get_secret_value(), LOCK_NAME)
        self._trouble: SkippedInRun | None = None

    def step(self) -> bool:
        """Do a piece of the run that waits or was broken off; False where there is none, or another process has it."""
        unfinished = _start_unfinished_run()
        if unfinished is None or not self._lock.acquire():
            self._lock.release()
            return False
        if self._trouble is None or self._trouble.run_id != unfinished.id:
            self._trouble = SkippedInRun(unfinished.id)
        try:
            if not any(self._piece(unfinished, kind) for kind in unfinished.kinds):
                _finish_run(unfinished, postponed=_count_postponed() if ExpiredKind.SESSIONS in unfinished.kinds else 0)
        except (SQLAlchemyError, MediaUnavailable) as error:
            # The database or the media store said no (a database that is away is another error): the batch would fail
            # for ever.
            log.exception("cleanup_failed", run=unfinished.id)
            _finish_run(unfinished, error=type(error).__name__)
        return True

    def close(self) -> None:
        """Let another process go on."""
        self._lock.release()

    def _piece(self, unfinished: Run, kind: ExpiredKind) -> bool:
        if kind is ExpiredKind.MEDIA:
            return _purge_media(unfinished) > 0
        if kind is not ExpiredKind.SESSIONS:
            return _purge_batch(unfinished, kind) > 0
        assert self._trouble is not None
        claimed = claim_session(self._trouble)
        if claimed is not None:
            purge_session(unfinished, claimed, self._trouble)
        return claimed is not None


def run_in_this_process() -> Run:
    """A whole run of the system's in this process, or the one that is under way; returns how it ended.

    Where a worker is faster to it, this only waits for it.
    """
    asked, cleaner, pause = request_hourly_run() or list_runs(SYSTEM, limit=1)[0], RetentionWorker(), threading.Event()
    try:
        while (now := get_run(SYSTEM, asked.id)).finished_at is None:
            if not cleaner.step():
                pause.wait(POLL_SECONDS)
    finally:
        cleaner.close()
    return now


def _start_unfinished_run() -> Run | None:
    """The run to carry out, marked as started."""
    with transaction(SYSTEM) as tx:
        row = tx.execute(select_runs(SYSTEM).where(cleanup_runs.c.finished_at.is_(None))).one_or_none()
        if row is not None and row.started_at is None:
            tx.execute(update(cleanup_runs).where(cleanup_runs.c.id == row.id).values(started_at=func.now()))
    return read_row(Run, row) if row else None


def _purge_batch(unfinished: Run, kind: ExpiredKind) -> int:
    with transaction(SYSTEM) as tx:
        gone = int(
            tx.execute(
                func.app.purge_expired(str(kind), get_retention_periods()[kind], BATCH_ROWS).select()
            ).scalar_one()
        )
        if gone:
            add_to_counts(tx, unfinished, kind, gone)
    return gone


def _purge_media(unfinished: Run) -> int:
    """First the rows, then their files: whoever keeps the same content meanwhile waits, and where this process dies
    the files are found again once its lease is over."""
    values = {"keep": get_retention_periods()[ExpiredKind.MEDIA], "most": MEDIA_ROWS, "lease": MEDIA_LEASE}
    begun = time.monotonic()
    with transaction(SYSTEM) as tx:
        claimed = tx.execute(text("select * from app.claim_media(:keep, :most, :lease)"), values).all()
        if fresh := sum(row.fresh for row in claimed):
            add_to_counts(tx, unfinished, ExpiredKind.MEDIA, fresh)
    for row in claimed:
        # Only while nobody else can hold it; this machine's clock may differ from the database's.
        if time.monotonic() - begun < MEDIA_LEASE.total_seconds() / 2:
            media_store.delete_file(row.user_id, row.sha256)
            with transaction(SYSTEM) as tx:
                tx.execute(_DELETE_MEDIA_ROW, {"owner": row.user_id, "content": row.sha256, "lease": row.lease_until})
    return len(claimed)


def _finish_run(unfinished: Run, *, postponed: int = 0, error: str | None = None) -> None:
    with transaction(SYSTEM) as tx:
        row = tx.execute(
            update(cleanup_runs)
            .where(cleanup_runs.c.id == unfinished.id, cleanup_runs.c.finished_at.is_(None))
            .values(finished_at=func.now(), postponed=postponed, error=error)
            .returning(cleanup_runs.c.counts)
        ).one_or_none()
    if row is not None:
        log.info("cleanup_finished", run=unfinished.id, counts=row.counts, postponed=postponed, error=error)


def _count_postponed() -> int:
    """Sessions that are due still: their server did not let them go."""
    with transaction(SYSTEM) as tx:
        return next(one.count for one in count_expired(tx) if one.kind is ExpiredKind.SESSIONS)


_DELETE_MEDIA_ROW = text("select app.delete_media(:owner, :content, :lease)")
