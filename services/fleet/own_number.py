"""The numbers that a session has had: which one it is now, and what its owner has not decided yet.

Another phone can be paired with a session. The database itself notices it (`app.record_number`): it stops the lane,
sets the conversations of the number before aside, and writes it into the timeline. What was made for that number waits
until its owner has said whether it goes on by the new one (`services.outreach.number_change`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, func, select

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.fleet import session_numbers, sessions
from services.errors import N_, Conflict


class NumberUndecided(Conflict):
    """Another phone was paired, and nobody has said what becomes of what was made for the number before."""

    code = "outro_numero"
    message = N_("Este é outro número: diga primeiro o que fazer com o que esperava pelo número anterior.")
    hint = N_("Em “Meu WhatsApp”, escolha continuar pelo número novo ou descartar.")


@dataclass(frozen=True)
class NumberChange:
    """A session is another number since `since`, and what was made for `earlier` waits (both digits)."""

    id: int
    session_id: UUID
    phone: str
    earlier: str
    since: datetime


def get_change(actor: Actor, user_id: UUID | None = None) -> NumberChange | None:
    """The change of number of the session of `user_id` (default: the actor's own) that waits for its owner's word; None
    where none does, or the actor may not see it."""
    wanted = select_changes().where(session_numbers.c.user_id == (user_id or actor.user_id))
    with transaction(actor) as tx:
        row = tx.execute(wanted).one_or_none()
    return read_row(NumberChange, row) if row is not None else None


def is_undecided(tx: Connection, session_id: UUID) -> bool:
    """Whether a session is another number of which its owner has not said yet what becomes of what waits."""
    return tx.execute(select_changes().where(session_numbers.c.session_id == session_id)).first() is not None


def list_earlier(actor: Actor, user_id: UUID | None = None) -> list[str]:
    """The numbers (digits) that the session of `user_id` (default: the actor's own) was before, the newest first."""
    line = func.app.get_address_key(session_numbers.c.phone)
    present = func.app.get_address_key(sessions.c.phone_number)
    earlier = (
        select(func.max(session_numbers.c.phone))
        .join(sessions, sessions.c.id == session_numbers.c.session_id)
        .where(session_numbers.c.user_id == (user_id or actor.user_id), line.is_distinct_from(present))
        .group_by(line)
        .order_by(func.max(session_numbers.c.id).desc())
    )
    with transaction(actor) as tx:
        return list(tx.execute(earlier).scalars())


def select_changes() -> Select[Any]:
    """The query for changes of number that wait for their owner's word, as a `NumberChange` is read."""
    return select(
        session_numbers.c.id,
        session_numbers.c.session_id,
        session_numbers.c.phone,
        session_numbers.c.replaced.label("earlier"),
        session_numbers.c.since,
    ).where(*_undecided())


def _undecided() -> tuple[ColumnElement[bool], ...]:
    return (
        session_numbers.c.until.is_(None),
        session_numbers.c.replaced.is_not(None),
        session_numbers.c.decided_at.is_(None),
    )
