"""The kill switch of a session: nothing leaves through its lane until sending is resumed, whatever is queued or due.

It is one column of the lane (`lanes.stopped_at`) that the dispatcher, schedules and campaigns look at. What staff
stopped, only staff resume; that is on the record and in the session's timeline. Where another phone was paired the
database stops the lane, and its owner decides what becomes of what waits before anybody resumes it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Select, func, select, update

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.base import Record
from services.db.tables.fleet import sessions as session_rows
from services.db.tables.messaging import lanes
from services.errors import N_, Conflict, Forbidden, NotFound
from services.fleet import own_number, timeline
from services.security import audit_log


class StoppedByStaff(Conflict):
    """Only staff let go on what they stopped."""

    code = "parado_pela_equipe"
    message = N_("A equipe parou os seus envios.")
    hint = N_("Fale com o suporte para voltar a enviar.")


@dataclass(frozen=True)
class SendingStop:
    """Since when nothing leaves, and whether staff stopped it, or another phone (`stopped_for`: `number`)."""

    stopped_at: datetime
    stopped_by_staff: bool
    stopped_for: str | None


def get_stop(actor: Actor, user_id: UUID | None = None) -> SendingStop | None:
    """Whether the session of `user_id` (default: the actor's own) is stopped; None where it is not, or is not there."""
    owner = _owner(actor, user_id)
    with transaction(actor) as tx:
        row = tx.execute(_lane(owner)).one_or_none()
    return read_row(SendingStop, row) if row is not None and row.stopped_at else None


def stop_sending(actor: Actor, user_id: UUID | None = None) -> None:
    """Stop everything that a session sends, at once.

    Raises: NotFound without a session, Forbidden.
    """
    owner = _owner(actor, user_id)
    with transaction(actor) as tx:
        row = _require(tx, owner)
        if row.stopped_at is None or row.stopped_for is not None:
            by_staff = owner != actor.user_id
            _set(tx, row, stopped_at=func.clock_timestamp(), stopped_by_staff=by_staff, stopped_for=None)
            _note(tx, actor, owner, row, "sending.stop")


def resume_sending(actor: Actor, user_id: UUID | None = None) -> None:
    """Let a session send again, what is queued first.

    Raises: NotFound, Forbidden, StoppedByStaff; NumberUndecided while its owner has not said what another number means.
    """
    owner = _owner(actor, user_id)
    with transaction(actor) as tx:
        row = _require(tx, owner)
        if row.stopped_at is None:
            return
        if row.stopped_by_staff and not actor.is_staff:
            raise StoppedByStaff(f"session of {owner}")
        if own_number.is_undecided(tx, row.session_id):
            raise own_number.NumberUndecided(f"session of {owner}")
        _set(tx, row, stopped_at=None, stopped_by_staff=False, stopped_for=None)
        _note(tx, actor, owner, row, "sending.go_on")


def _owner(actor: Actor, user_id: UUID | None) -> UUID:
    owner = user_id or actor.user_id
    if owner is None or (owner != actor.user_id and not actor.is_staff):
        raise Forbidden("only staff stop what others send")
    return owner


def _require(tx: Connection, owner: UUID) -> Record:
    row = tx.execute(_lane(owner).with_for_update(of=lanes)).one_or_none()
    if row is None:
        raise NotFound(f"no session of {owner}")
    return row


def _lane(owner: UUID) -> Select[Any]:
    of_session = session_rows.c.id == lanes.c.session_id
    return (
        select(lanes.c.session_id, lanes.c.stopped_at, lanes.c.stopped_by_staff, lanes.c.stopped_for)
        .join(session_rows, of_session)
        .where(session_rows.c.user_id == owner)
    )


def _set(tx: Connection, row: Record, **values: Any) -> None:
    tx.execute(update(lanes).where(lanes.c.session_id == row.session_id).values(**values))


def _note(tx: Connection, actor: Actor, owner: UUID, row: Record, what: str) -> None:
    audit_log.record(tx, actor, what, f"user_{owner}")
    if owner != actor.user_id:
        timeline.add_entry(tx, row.session_id, owner, timeline.Kind.STAFF, what)
