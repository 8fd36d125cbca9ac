"""Cleaning up: what nobody will ask for again goes after its retention, in batches that each say so in the run's row.

    run() ─▶ queued ─worker claims─▶ running ─a batch a transaction, kind by kind─▶ finished
                                        └─the process dies─▶ the next worker goes on where it stopped

What rubbish is, and since when, stands in the views `app.rubbish_…`; counting and deleting read the same ones. Each
batch chooses, checks, locks and deletes in one statement, so nothing that came back meanwhile is touched.

A session that stayed disconnected also has data on its WPPConnect server. It is claimed (a start is refused for as
long), the server is asked and told to delete them, and only then the row goes, if nothing has moved it meanwhile. A
server that is down postpones its sessions; one that is configured no longer keeps nobody's row waiting. A session whose
user has messages younger than the history's retention is kept with them: its data on the server go once (`cleared_at`),
its pairing data are blanked, its row stays.
"""

import json
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Select, func, null, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from services import audit, media, servers, settings
from services.db.actor import SYSTEM, Actor, ActorKind, Role
from services.db.engine import transaction
from services.db.locks import ProcessLock
from services.db.models import Record, cleanup_runs, directory
from services.errors import (
    CleanupUnderWay,
    ConfigurationError,
    Forbidden,
    MediaUnavailable,
    NotFound,
    WppError,
    WppOutcomeUnknown,
)
from services.wppconnect.connection import client

log = structlog.get_logger(__name__)

# Enough to make the transaction's own cost small, little enough that nobody waits for its locks.
BATCH_ROWS = 1000
# Files go one by one while their rows are held.
MEDIA_ROWS = 50
# Longer than asking for the state, closing and clearing may take at worst (8 s + 18 s + 18 s, see client.Timeouts).
CLAIM_LEASE = timedelta(seconds=60)
# A server that leaves this many clearings without an answer is left alone for the rest of the run.
UNKNOWN_OUTCOMES = 3
LOCK = "cleanup"
# Between two looks at a run that another process carries out.
ELSEWHERE_SECONDS = 0.2


class Kind(StrEnum):
    """A kind of rubbish, in the order in which a run takes them."""

    CODES = "codes"  # QR and pairing codes: the fields are blanked, the session stays
    SESSIONS = "sessions"  # long disconnected: data on the server and, without a history, the row
    EVENTS = "events"  # events that were handled, are duplicates, of no use or none; never one that waits or failed
    PARKED_ACKS = "parked_acks"  # of messages that were not ours
    HEARTBEATS = "heartbeats"  # of processes that have ended
    SIGN_IN_ATTEMPTS = "sign_in_attempts"
    SIGNED_OUT = "signed_out"  # revocations of tokens that have expired since
    SECURITY_EVENTS = "security_events"
    TIMELINE = "timeline"  # entries of sessions' timelines
    JOBS = "jobs"  # jobs of the worker that have ended
    MEDIA = "media"  # files that neither a message nor a template carries any more
    RUNS = "runs"  # rows of this history


class State(StrEnum):
    """Where a run is."""

    QUEUED = "queued"  # asked for; no worker has taken it yet
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"  # ended with `error`; what was committed before is done


@dataclass(frozen=True)
class Finding:
    """How much of a kind a run would take now. `oldest`: since when the oldest of it is rubbish's age counted from."""

    kind: Kind
    count: int
    oldest: datetime | None
    retention: timedelta


@dataclass(frozen=True)
class Run:
    """One clean-up. `actor_id` None: the hourly one; `by` is the person's e-mail where the reader may see it.

    `expected` and `counts` are rows by kind: found when it was asked for, and gone so far. `postponed` counts the
    sessions whose server could not be reached.
    """

    id: int
    actor_id: UUID | None
    by: str | None
    kinds: tuple[Kind, ...]
    expected: dict[Kind, int]
    counts: dict[Kind, int]
    postponed: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None

    @property
    def state(self) -> State:
        if self.finished_at is not None:
            return State.FAILED if self.error else State.FINISHED
        return State.QUEUED if self.started_at is None else State.RUNNING

    @property
    def gone(self) -> int:
        """Rows that went so far, of all kinds."""
        return sum(self.counts.values())

    @property
    def fraction(self) -> float:
        """How far it is, from 0 to 1, by what was expected."""
        done = sum(min(self.counts.get(kind, 0), count) for kind, count in self.expected.items())
        return done / max(sum(self.expected.values()), 1)


# --- what a person does ---------------------------------------------------------------------------------------------


def retentions() -> dict[Kind, timedelta]:
    """How long each kind is kept, from the settings."""
    configured = settings.get()
    return {kind: timedelta(days=getattr(configured, f"cleanup_{kind}_days")) for kind in Kind}


def history_retention() -> timedelta:
    """How young a message must be for its session to be kept."""
    return timedelta(days=settings.get().cleanup_history_days)


def preview(actor: Actor) -> list[Finding]:
    """What a run would take now, in the order of the kinds, those with nothing included. Raises Forbidden."""
    _require_staff(actor)
    with transaction(actor) as tx:
        return _findings(tx)


def run(actor: Actor, kinds: Sequence[Kind] | None = None) -> Run:
    """Ask for a clean-up of `kinds` (default: all), for an admin or the system; a worker does it at once, whoever goes
    away meanwhile. Raises Forbidden, and CleanupUnderWay where one is not finished yet.
    """
    if actor.kind is not ActorKind.SYSTEM and actor.role is not Role.ADMIN:
        raise Forbidden("cleanup.run")
    chosen = [str(kind) for kind in Kind if kinds is None or kind in kinds]
    with transaction(actor) as tx:
        expected = {one.kind: one.count for one in _findings(tx) if one.kind in chosen}
        made = tx.execute(
            insert(cleanup_runs)
            .values(actor_id=actor.user_id, kinds=chosen, expected=expected)
            .on_conflict_do_nothing()
            .returning(cleanup_runs.c.id)
        ).scalar_one_or_none()
        if made is None:
            raise CleanupUnderWay("one is not finished")
        audit.record(tx, actor, "cleanup.run", str(made), expected=expected)
        row = tx.execute(_runs(actor).where(cleanup_runs.c.id == made)).one()
    return _run(row)


def history(actor: Actor, limit: int = 20) -> list[Run]:
    """The newest runs, newest first, one under way included. Raises Forbidden."""
    _require_staff(actor)
    with transaction(actor) as tx:
        rows = tx.execute(_runs(actor).order_by(cleanup_runs.c.id.desc()).limit(limit)).all()
    return [_run(row) for row in rows]


def progress(actor: Actor, run_id: int) -> Run:
    """One run as it is now. Raises Forbidden, NotFound."""
    _require_staff(actor)
    with transaction(actor) as tx:
        row = tx.execute(_runs(actor).where(cleanup_runs.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFound(f"cleanup run {run_id}")
    return _run(row)


# --- what the worker does ---------------------------------------------------------------------------------------------


@dataclass
class _Trouble:
    """What a run leaves alone after it failed there: for this run only, the next one tries again."""

    run_id: int
    sessions: set[UUID] = field(default_factory=set)
    servers: set[str] = field(default_factory=set)
    unknown: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Claimed:
    """A session held for cleaning; `since` and `claim` are the fence of its end."""

    id: UUID
    name: str
    server_url: str | None
    cleared: bool
    since: datetime
    claim: datetime


class Cleaner:
    """Carries runs out, a batch or a session a step, so that it can be stopped between any two; one a process.

    Only one process of the installation works at a time, which the advisory lock sees to. It only keeps the order: rows
    and counters would stay right without it.
    """

    def __init__(self) -> None:
        self._lock = ProcessLock(settings.get().system_database_url.get_secret_value(), LOCK)
        self._trouble: _Trouble | None = None

    def step(self) -> bool:
        """Do a piece of the run that waits or was broken off; False where there is none, or another process has it."""
        unfinished = _unfinished()
        if unfinished is None or not self._lock.acquire():
            self._lock.release()
            return False
        if self._trouble is None or self._trouble.run_id != unfinished.id:
            self._trouble = _Trouble(unfinished.id)
        try:
            if not any(self._piece(unfinished, kind) for kind in unfinished.kinds):
                _finish(unfinished, postponed=_postponed() if Kind.SESSIONS in unfinished.kinds else 0)
        except (SQLAlchemyError, MediaUnavailable) as error:
            # The database or the media store said no (a database that is away is another error): the batch would fail
            # for ever.
            log.exception("cleanup_failed", run=unfinished.id)
            _finish(unfinished, error=type(error).__name__)
        return True

    def close(self) -> None:
        """Let another process go on."""
        self._lock.release()

    def _piece(self, unfinished: Run, kind: Kind) -> bool:
        if kind is Kind.MEDIA:
            return _clean_media(unfinished) > 0
        if kind is not Kind.SESSIONS:
            return _clean_batch(unfinished, kind) > 0
        assert self._trouble is not None
        claimed = _claim(self._trouble)
        if claimed is not None:
            _clean_session(unfinished, claimed, self._trouble)
        return claimed is not None


def hourly() -> Run | None:
    """Ask for the system's own run; None where one is under way already."""
    try:
        return run(SYSTEM)
    except CleanupUnderWay:
        return None


def run_here() -> Run:
    """A whole run of the system's in this process, or the one that is under way; returns how it ended.

    Where a worker is faster to it, this only waits for it.
    """
    asked, cleaner, pause = hourly() or history(SYSTEM, limit=1)[0], Cleaner(), threading.Event()
    try:
        while (now := progress(SYSTEM, asked.id)).finished_at is None:
            if not cleaner.step():
                pause.wait(ELSEWHERE_SECONDS)
    finally:
        cleaner.close()
    return now


def _unfinished() -> Run | None:
    """The run to carry out, marked as started."""
    with transaction(SYSTEM) as tx:
        row = tx.execute(_runs(SYSTEM).where(cleanup_runs.c.finished_at.is_(None))).one_or_none()
        if row is not None and row.started_at is None:
            tx.execute(update(cleanup_runs).where(cleanup_runs.c.id == row.id).values(started_at=func.now()))
    return _run(row) if row else None


def _clean_batch(unfinished: Run, kind: Kind) -> int:
    with transaction(SYSTEM) as tx:
        gone = int(tx.execute(func.app.clean(str(kind), retentions()[kind], BATCH_ROWS).select()).scalar_one())
        if gone:
            _count(tx, unfinished, kind, gone)
    return gone


def _clean_media(unfinished: Run) -> int:
    """Rows and their files, in one transaction: whoever keeps the same content meanwhile waits for its end, and where
    this process dies in it the rows are found again."""
    with transaction(SYSTEM) as tx:
        rows = tx.execute(
            text("select * from app.clean_media(:keep, :most)"), {"keep": retentions()[Kind.MEDIA], "most": MEDIA_ROWS}
        ).all()
        for row in rows:
            media.delete_file(row.user_id, row.sha256)
        if rows:
            _count(tx, unfinished, Kind.MEDIA, len(rows))
    return len(rows)


def _count(tx: Connection, unfinished: Run, kind: Kind, gone: int) -> None:
    """In the transaction of the batch itself: what is gone is counted, and what is counted is gone."""
    before = func.coalesce(cleanup_runs.c.counts[str(kind)].as_integer(), 0)
    tx.execute(
        update(cleanup_runs)
        .where(cleanup_runs.c.id == unfinished.id)
        .values(counts=cleanup_runs.c.counts.concat(func.jsonb_build_object(str(kind), before + gone)))
    )


def _finish(unfinished: Run, *, postponed: int = 0, error: str | None = None) -> None:
    with transaction(SYSTEM) as tx:
        row = tx.execute(
            update(cleanup_runs)
            .where(cleanup_runs.c.id == unfinished.id, cleanup_runs.c.finished_at.is_(None))
            .values(finished_at=func.now(), postponed=postponed, error=error)
            .returning(cleanup_runs.c.counts)
        ).one_or_none()
    if row is not None:
        log.info("cleanup_finished", run=unfinished.id, counts=row.counts, postponed=postponed, error=error)


def _postponed() -> int:
    """Sessions that are due still: their server did not let them go."""
    with transaction(SYSTEM) as tx:
        return next(one.count for one in _findings(tx) if one.kind is Kind.SESSIONS)


# --- one session ------------------------------------------------------------------------------------------------------


def _claim(trouble: _Trouble) -> _Claimed | None:
    kept = retentions()[Kind.SESSIONS], history_retention()
    with transaction(SYSTEM) as tx:
        row = tx.execute(
            text("select * from app.claim_rubbish_session(:keep, :history, :lease, :passed_over, :down)"),
            {
                "keep": kept[0],
                "history": kept[1],
                "lease": CLAIM_LEASE,
                "passed_over": list(trouble.sessions),
                "down": list(trouble.servers),
            },
        ).one_or_none()
    return _Claimed(row.id, row.name, row.server_url, row.cleared, row.since, row.claim) if row else None


def _clean_session(unfinished: Run, claimed: _Claimed, trouble: _Trouble) -> None:
    if claimed.server_url is not None and not claimed.cleared and _has_server(claimed):
        try:
            if not _clear_on_server(claimed.server_url, claimed.name):
                log.info("cleanup_found_alive", session=claimed.name)
                trouble.sessions.add(claimed.id)
                _release(claimed, ask=True)
                return
        except (WppError, ConfigurationError) as error:
            log.warning("cleanup_postponed", session=claimed.name, error=type(error).__name__)
            _postpone(claimed, claimed.server_url, error, trouble)
            return
    with transaction(SYSTEM) as tx:
        if tx.execute(_FINISH, _fence(claimed)).scalar_one() is not None:
            _count(tx, unfinished, Kind.SESSIONS, 1)
        else:
            trouble.sessions.add(claimed.id)


def _has_server(claimed: _Claimed) -> bool:
    """Whether there is anybody to ask: an address that is configured no longer is never called."""
    if servers.is_configured(claimed.server_url):
        return True
    log.warning("cleanup_without_server", session=claimed.name)
    return False


def _clear_on_server(server_url: str, name: str) -> bool:
    """Delete what the server keeps of a session; False where it says that the session is up: that is to be asked about,
    not deleted."""
    state = client().status_session(server_url, name).status
    # It goes on saying CONNECTED of one whose browser has died, which nobody would ever see the end of.
    if state == "CONNECTED" and client().check_connection(server_url, name):
        return False
    if state != "CLOSED":
        client().close_session(server_url, name)
    client().clear_session_data(server_url, name)
    return True


def _postpone(claimed: _Claimed, server_url: str, error: Exception, trouble: _Trouble) -> None:
    trouble.sessions.add(claimed.id)
    if isinstance(error, WppOutcomeUnknown):
        # The order may still be carried out there: no start may begin until the lease ends.
        trouble.unknown[server_url] += 1
        if trouble.unknown[server_url] >= UNKNOWN_OUTCOMES:
            trouble.servers.add(server_url)
        return
    trouble.servers.add(server_url)
    _release(claimed, ask=False)


def _release(claimed: _Claimed, *, ask: bool) -> None:
    with transaction(SYSTEM) as tx:
        tx.execute(func.app.release_rubbish_session(claimed.id, claimed.claim, ask).select())


_FINISH = text("select app.finish_rubbish_session(:id, :since, :claim, :keep, :history)")


def _fence(claimed: _Claimed) -> dict[str, Any]:
    return {
        "id": claimed.id,
        "since": claimed.since,
        "claim": claimed.claim,
        "keep": retentions()[Kind.SESSIONS],
        "history": history_retention(),
    }


# --- rows -------------------------------------------------------------------------------------------------------------


def _require_staff(actor: Actor) -> None:
    if not (actor.is_staff or actor.kind is ActorKind.SYSTEM):
        raise Forbidden("cleanup")


def _findings(tx: Connection) -> list[Finding]:
    kept = retentions()
    keep = {kind: f"{int(age.total_seconds())} seconds" for kind, age in kept.items()}
    keep_all = json.dumps({**keep, "history": f"{int(history_retention().total_seconds())} seconds"})
    rows = tx.execute(text("select * from app.cleanup_findings(cast(:keep as jsonb))"), {"keep": keep_all}).all()
    found = {Kind(row.kind): row for row in rows}
    return [Finding(kind, int(found[kind].found), found[kind].oldest, kept[kind]) for kind in Kind]


def _runs(actor: Actor) -> Select[Any]:
    """Runs with the e-mail of who asked, where the actor may look people up."""
    if not actor.is_staff:
        return select(cleanup_runs, null().label("by"))
    who = directory.c.user_id == cleanup_runs.c.actor_id
    return select(cleanup_runs, directory.c.email.label("by")).select_from(cleanup_runs.outerjoin(directory, who))


def _run(row: Record) -> Run:
    return Run(
        id=row.id,
        actor_id=row.actor_id,
        by=row.by,
        kinds=tuple(Kind(kind) for kind in row.kinds),
        expected={Kind(kind): int(count) for kind, count in row.expected.items()},
        counts={Kind(kind): int(count) for kind, count in row.counts.items()},
        postponed=row.postponed,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        error=row.error,
    )
