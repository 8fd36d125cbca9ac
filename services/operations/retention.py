"""Retention: how long each kind of data is kept, and the runs that delete what has expired.

    request_run() ─▶ queued ─worker claims─▶ running ─a batch a transaction, kind by kind─▶ finished
                                                └─the process dies─▶ the next worker goes on where it stopped

What has expired, and since when, stands in the views `app.expired_…`. Counting and deleting read the same views.
Each batch chooses, checks, locks and deletes in one statement, so nothing that came back meanwhile is touched.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, func, null, select, text, update
from sqlalchemy.dialects.postgresql import insert

from services import settings
from services.db.actor import SYSTEM, Actor, ActorKind, Role
from services.db.engine import transaction
from services.db.rows import read_row, read_rows
from services.db.tables.accounts import directory
from services.db.tables.operations import cleanup_runs
from services.errors import N_, Conflict, Forbidden, NotFound
from services.security import audit_log


class CleanupUnderWay(Conflict):
    code = "limpeza_em_andamento"
    permanent = False
    message = N_("Uma limpeza já está em andamento.")
    hint = N_("Espere ela terminar; o andamento aparece nesta página.")


class ExpiredKind(StrEnum):
    """A kind of data that expires, in the order in which a run takes them."""

    CODES = "codes"  # QR and pairing codes: the fields are blanked, the session stays
    SESSIONS = "sessions"  # long disconnected: data on the server and, without a history, the row
    EVENTS = "events"  # events that were handled, are duplicates, of no use or none; never one that waits or failed
    PENDING_ACKS = "pending_acks"  # of messages that were not ours
    HEARTBEATS = "heartbeats"  # of processes that have ended
    SIGN_IN_ATTEMPTS = "sign_in_attempts"
    SIGNED_OUT = "signed_out"  # revocations of tokens that have expired since
    SECURITY_EVENTS = "security_events"
    TIMELINE = "timeline"  # entries of sessions' timelines
    JOBS = "jobs"  # jobs of the worker that have ended
    MEDIA = "media"  # files that neither a message nor a template carries any more
    RUNS = "runs"  # rows of this history


class RunState(StrEnum):
    """Where a run is."""

    QUEUED = "queued"  # asked for; no worker has taken it yet
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"  # ended with `error`; what was committed before is done


@dataclass(frozen=True)
class ExpiredRows:
    """How much of a kind a run would take now. `oldest`: since when the age of the oldest is counted."""

    kind: ExpiredKind
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
    kinds: tuple[ExpiredKind, ...]
    expected: dict[ExpiredKind, int]
    counts: dict[ExpiredKind, int]
    postponed: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None

    @property
    def state(self) -> RunState:
        if self.finished_at is not None:
            return RunState.FAILED if self.error else RunState.FINISHED
        return RunState.QUEUED if self.started_at is None else RunState.RUNNING

    @property
    def gone(self) -> int:
        """Rows that went so far, of all kinds."""
        return sum(self.counts.values())

    @property
    def fraction(self) -> float:
        """How far it is, from 0 to 1, by what was expected."""
        done = sum(min(self.counts.get(kind, 0), count) for kind, count in self.expected.items())
        return done / max(sum(self.expected.values()), 1)


def get_retention_periods() -> dict[ExpiredKind, timedelta]:
    """How long each kind is kept, from the settings."""
    configured = settings.get().retention
    return {kind: timedelta(days=getattr(configured, f"{kind}_days")) for kind in ExpiredKind}


def get_history_retention() -> timedelta:
    """How young a message must be for its session to be kept."""
    return timedelta(days=settings.get().retention.history_days)


def preview_run(actor: Actor) -> list[ExpiredRows]:
    """What a run would take now, in the order of the kinds, those with nothing included.

    Raises: Forbidden.
    """
    actor.require_staff_or_system("cleanup")
    with transaction(actor) as tx:
        return count_expired(tx)


def request_run(actor: Actor, kinds: Sequence[ExpiredKind] | None = None) -> Run:
    """Ask for a clean-up of `kinds` (default: all), for an admin or the system; a worker does it at once, whoever goes
    away meanwhile.

    Raises: Forbidden, and CleanupUnderWay where one is not finished yet.
    """
    if actor.kind is not ActorKind.SYSTEM and actor.role is not Role.ADMIN:
        raise Forbidden("cleanup.run")
    chosen = [str(kind) for kind in ExpiredKind if kinds is None or kind in kinds]
    with transaction(actor) as tx:
        expected = {one.kind: one.count for one in count_expired(tx) if one.kind in chosen}
        made = tx.execute(
            insert(cleanup_runs)
            .values(actor_id=actor.user_id, kinds=chosen, expected=expected)
            .on_conflict_do_nothing()
            .returning(cleanup_runs.c.id)
        ).scalar_one_or_none()
        if made is None:
            raise CleanupUnderWay("one is not finished")
        audit_log.record(tx, actor, "cleanup.run", str(made), expected=expected)
        row = tx.execute(select_runs(actor).where(cleanup_runs.c.id == made)).one()
    return read_row(Run, row)


def list_runs(actor: Actor, limit: int = 20) -> list[Run]:
    """The newest runs, newest first, one under way included.

    Raises: Forbidden.
    """
    actor.require_staff_or_system("cleanup")
    with transaction(actor) as tx:
        rows = tx.execute(select_runs(actor).order_by(cleanup_runs.c.id.desc()).limit(limit)).all()
    return read_rows(Run, rows)


def get_run(actor: Actor, run_id: int) -> Run:
    """One run as it is now.

    Raises: Forbidden, NotFound.
    """
    actor.require_staff_or_system("cleanup")
    with transaction(actor) as tx:
        row = tx.execute(select_runs(actor).where(cleanup_runs.c.id == run_id)).one_or_none()
    if row is None:
        raise NotFound(f"cleanup run {run_id}")
    return read_row(Run, row)


def request_hourly_run() -> Run | None:
    """Ask for the system's own run; None where one is under way already."""
    try:
        return request_run(SYSTEM)
    except CleanupUnderWay:
        return None


def add_to_counts(tx: Connection, unfinished: Run, kind: ExpiredKind, gone: int) -> None:
    """In the transaction of the batch itself: what is gone is counted, and what is counted is gone."""
    before = func.coalesce(cleanup_runs.c.counts[str(kind)].as_integer(), 0)
    tx.execute(
        update(cleanup_runs)
        .where(cleanup_runs.c.id == unfinished.id)
        .values(counts=cleanup_runs.c.counts.concat(func.jsonb_build_object(str(kind), before + gone)))
    )


def count_expired(tx: Connection) -> list[ExpiredRows]:
    """Counts what has expired; the result has one entry for each `ExpiredKind`, in its order."""
    kept = get_retention_periods()
    keep = {kind: f"{int(age.total_seconds())} seconds" for kind, age in kept.items()}
    keep_all = json.dumps({**keep, "history": f"{int(get_history_retention().total_seconds())} seconds"})
    rows = {row.kind: row for row in tx.execute(_COUNT_EXPIRED, {"keep": keep_all})}
    return [read_row(ExpiredRows, rows[kind], retention=kept[kind]) for kind in ExpiredKind]


_COUNT_EXPIRED = text("select kind, found as count, oldest from app.count_expired(cast(:keep as jsonb))")


def select_runs(actor: Actor) -> Select[Any]:
    """Runs with the e-mail of who asked, where the actor may look people up."""
    if not actor.is_staff:
        return select(cleanup_runs, null().label("by"))
    who = directory.c.user_id == cleanup_runs.c.actor_id
    return select(cleanup_runs, directory.c.email.label("by")).select_from(cleanup_runs.outerjoin(directory, who))
