"""Dry runs: what processing an event would change, without changing it.

The worker runs the event in a transaction and rolls it back, because only the worker's role may change sessions and
messages. The answer goes back through the table `event_dry_runs`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Uuid,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.rows import read_object
from services.db.tables.base import Record
from services.db.tables.fleet import sessions
from services.db.tables.inbound import event_dry_runs, events
from services.db.tables.messaging import messages, pending_acks
from services.errors import N_, InvalidInput, NotFound, ServiceError
from services.inbound import event_handlers, inline_files
from services.inbound.event_log import PAGE_SIZE, Verdict
from services.inbound.event_shape import HIDDEN
from services.messaging import acknowledgements
from services.wppconnect import event_parsing
from services.wppconnect.events import Ack, InboundMessage

WAIT_SECONDS = 10.0
POLL_SECONDS = 0.05
# Each dry run holds the locks of its session for a moment; several in one transaction save commits.
MAX_AT_ONCE = 10
RETENTION = timedelta(hours=1)
# What a session or a message holds that staff may not read, or that says nothing.
_PRIVATE_FIELDS = {"qr_code", "qr_urlcode", "phone_code", "pairing_phone", "wpp_id"}
_IGNORED_FIELDS = {"updated_at", "webhook_secret_hash", "webhook_secret_previous_hash", "body", "contact_name"}


class WorkerAway(ServiceError):
    code = "worker_ausente"
    http_status = 503
    permanent = False
    safe_to_retry = True
    message = N_("O processo que trata os eventos não respondeu a tempo.")
    hint = N_("Confira se ele está rodando e tente de novo.")


@dataclass(frozen=True)
class FieldChange:
    """What a field of a session or a message would become. Secrets and codes show as `•••`."""

    where: str
    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class DryRun:
    """What processing an event would do now. `error` holds the traceback's places where it would fail."""

    event_id: int
    verdict: Verdict
    changes: list[FieldChange]
    error: str | None


def request_dry_runs(actor: Actor, ids: Sequence[int], seconds: float = WAIT_SECONDS) -> list[DryRun]:
    """What processing these events (up to 50) would change now, each by itself, newest first; nothing changes.

    Asks the worker and waits up to `seconds`; an event that is gone already is left out.

    Raises: Forbidden, InvalidInput, NotFound where all are gone, WorkerAway.
    """
    actor.require_staff("events")
    if len(ids) > PAGE_SIZE:
        raise InvalidInput(f"{len(ids)} events at once")
    asked = _store_requests(actor, ids)
    if not asked:
        raise NotFound(f"events {ids}")
    deadline = time.monotonic() + seconds
    while len(answers := _read_answers(actor, asked)) < len(asked):
        if time.monotonic() > deadline:
            raise WorkerAway(f"dry run of events {ids}")
        time.sleep(POLL_SECONDS)
    return answers


def run_pending_dry_runs() -> int:
    """The worker's part of `request_dry_runs`: try out what was asked, roll it back and write the answer.

    Returns how many.
    """
    with transaction(SYSTEM) as tx:
        asked = tx.execute(
            select(event_dry_runs.c.id.label("dry_run_id"), events)
            .join_from(event_dry_runs, events, events.c.id == event_dry_runs.c.event_id)
            .where(event_dry_runs.c.answer.is_(None))
            .order_by(event_dry_runs.c.asked_at)
            .limit(MAX_AT_ONCE)
            .with_for_update(skip_locked=True, of=event_dry_runs)
        ).all()
        for row in asked:
            answer = _run_dry(tx, row)
            tx.execute(update(event_dry_runs).where(event_dry_runs.c.id == row.dry_run_id).values(answer=answer))
        if asked:
            tx.execute(delete(event_dry_runs).where(event_dry_runs.c.asked_at < func.now() - RETENTION))
    return len(asked)


def _store_requests(actor: Actor, ids: Sequence[int]) -> list[UUID]:
    wanted = select(events.c.id, bindparam("asker", type_=Uuid)).where(events.c.id.in_(ids))
    statement = insert(event_dry_runs).from_select(["event_id", "actor_id"], wanted).returning(event_dry_runs.c.id)
    try:
        with transaction(actor) as tx:
            asked = list(tx.execute(statement, {"asker": actor.user_id}).scalars())
            tx.execute(text("select pg_notify('dry_runs', '')"))
    except IntegrityError as error:
        # A clean-up deleted one between our look at it and our row for it.
        raise NotFound(f"events {ids}") from error
    return asked


def _run_dry(tx: Connection, row: Record) -> dict[str, Any]:
    """Rolling back takes the rows' locks and the notifications with it."""
    before = _snapshot(tx, row)
    undone = tx.begin_nested()
    try:
        result = event_handlers.handle(tx, row)
        after = _snapshot(tx, row)
    finally:
        undone.rollback()
    changes = [] if result.error else _list_changes(before, after)
    return {"verdict": Verdict.FAILED if result.error else result.verdict, "changes": changes, "error": result.error}


def _snapshot(tx: Connection, row: Record) -> dict[str, dict[str, Any]]:
    """Everything that an event can move and staff may see: its session's row, for a message that there is one, and for
    an acknowledgement its message or what is parked for it."""
    found: dict[str, dict[str, Any]] = {}
    session = tx.execute(select(sessions).where(sessions.c.session_id == row.session)).one_or_none()
    if session is None:
        return found
    found["session"] = dict(session._mapping)
    event = event_parsing.parse_event(inline_files.parse_body(row.body))
    if isinstance(event, InboundMessage):
        # Whose it is and what it says is not for staff: that it would be there.
        shown = messages.c.direction, messages.c.kind, messages.c.state
        _add_row(tx, found, "message", select(*shown).where(_is_message(tx, session.id, event.id)))
    elif isinstance(event, Ack):
        parked = pending_acks.c.session_id == session.id, pending_acks.c.wpp_id == event.message_id
        _add_row(tx, found, "message", select(messages).where(_is_message(tx, session.id, event.message_id)))
        _add_row(tx, found, "pending_ack", select(pending_acks).where(*parked))
    return found


def _add_row(tx: Connection, found: dict[str, dict[str, Any]], name: str, query: Select[Any]) -> None:
    if (row := tx.execute(query).one_or_none()) is not None:
        found[name] = dict(row._mapping)


def _is_message(tx: Connection, session_id: UUID, wpp_id: str) -> ColumnElement[bool]:
    """The row of one WhatsApp message, under whichever of its names."""
    return messages.c.id == acknowledgements.find_message_id(tx, session_id, wpp_id)


def _list_changes(before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    changes = []
    for where in sorted(before.keys() | after.keys()):
        old, new = before.get(where, {}), after.get(where, {})
        for field in [*old, *(key for key in new if key not in old)]:
            if old.get(field) != new.get(field) and field not in _IGNORED_FIELDS:
                values = {
                    "before": _display_value(field, old.get(field)),
                    "after": _display_value(field, new.get(field)),
                }
                changes.append({"where": where, "field": field, **values})
    return changes


def _display_value(field: str, value: Any) -> str | None:
    if value is None:
        return None
    if field in _PRIVATE_FIELDS:
        return HIDDEN
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _read_answers(actor: Actor, asked: Sequence[UUID]) -> list[DryRun]:
    statement = (
        select(event_dry_runs.c.event_id, event_dry_runs.c.answer)
        .where(event_dry_runs.c.id.in_(asked), event_dry_runs.c.answer.is_not(None))
        .order_by(event_dry_runs.c.event_id.desc())
    )
    with transaction(actor) as tx:
        rows = tx.execute(statement).all()
    return [read_object(DryRun, row.answer, event_id=row.event_id) for row in rows]
