"""Breaking the glass: staff see something of a user's own only for a written reason and for minutes, on the record.

    break_glass ──▶ active ──mend, or its time is over──▶ ended

Nothing has to run for it to end: every look compares with the database's own clock. What must be kept from staff in the
database asks `app.glass_broken(user_id, scope)` in its policy; what only the code keeps back asks `active`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, func, insert, select, update

from services import audit
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.models import Record, broken_glass
from services.errors import N_, Forbidden, InvalidInput, NotFound

DEFAULT_MINUTES = 15
MAX_MINUTES = 60
MIN_REASON = 10
MAX_REASON = 500


class Scope(StrEnum):
    """What is seen through the broken glass."""

    QR = "qr"  # the QR and the phone code with which a user's session is paired
    CHATS = "chats"  # a user's conversations


class ReasonTooShort(InvalidInput):
    code = "motivo_curto"
    message = N_("O motivo precisa ter pelo menos {limit} caracteres.")
    hint = N_("Escreva por que é preciso ver isso, por exemplo o número do chamado.")


class ReasonTooLong(InvalidInput):
    code = "motivo_longo"
    message = N_("O motivo passa de {limit} caracteres.")
    hint = N_("Encurte o texto.")


class WrongMinutes(InvalidInput):
    code = "minutos_invalidos"
    message = N_("O acesso dura de 1 a {limit} minutos.")
    hint = N_("Escolha um tempo menor; ele pode ser aberto de novo.")


@dataclass(frozen=True)
class Glass:
    """One access of one staff member to one user's own, until `until` or, where it was mended, `ended_at`."""

    id: UUID
    actor_id: UUID
    user_id: UUID
    scope: Scope
    reason: str
    started_at: datetime
    until: datetime
    ended_at: datetime | None


def break_glass(actor: Actor, user_id: UUID, scope: str, reason: str, minutes: int = DEFAULT_MINUTES) -> Glass:
    """Let `actor` see `scope` of `user_id` for `minutes`. Recorded with its reason, which must have 10 characters.

    Raises Forbidden for anybody but staff (the database refuses them too), ReasonTooShort, ReasonTooLong, WrongMinutes,
    and ValueError for a scope that does not exist.
    """
    _require_staff(actor)
    chosen, said = Scope(scope), " ".join(reason.replace("\0", "").split())
    if len(said) < MIN_REASON:
        raise ReasonTooShort(limit=MIN_REASON)
    if len(said) > MAX_REASON:
        raise ReasonTooLong(limit=MAX_REASON)
    if not 1 <= minutes <= MAX_MINUTES:
        raise WrongMinutes(limit=MAX_MINUTES)
    until = func.now() + timedelta(minutes=minutes)
    values = {"actor_id": actor.user_id, "user_id": user_id, "scope": chosen, "reason": said, "until": until}
    with transaction(actor) as tx:
        row = tx.execute(insert(broken_glass).values(values).returning(broken_glass)).one()
        audit.record(tx, actor, "glass.break", f"user_{user_id}", scope=chosen, reason=said, minutes=minutes)
    return _glass(row)


def active(actor: Actor, user_id: UUID, scope: str) -> Glass | None:
    """The actor's own access that is open just now, the one that lasts longest, or None."""
    if not actor.is_staff:
        return None
    newest = (
        select(broken_glass)
        .where(
            broken_glass.c.actor_id == actor.user_id,
            broken_glass.c.user_id == user_id,
            broken_glass.c.scope == Scope(scope),
            broken_glass.c.ended_at.is_(None),
            broken_glass.c.until > func.clock_timestamp(),
        )
        .order_by(broken_glass.c.until.desc())
        .limit(1)
    )
    with transaction(actor) as tx:
        row = tx.execute(newest).one_or_none()
    return _glass(row) if row else None


def over(actor: Actor, limit: int = 3) -> list[Glass]:
    """The newest looks of staff at what is the actor's own, within the last 30 days."""
    looks = (
        select(broken_glass)
        .where(broken_glass.c.user_id == actor.user_id, broken_glass.c.started_at > func.now() - timedelta(days=30))
        .order_by(broken_glass.c.started_at.desc())
        .limit(limit)
    )
    with transaction(actor) as tx:
        return [_glass(row) for row in tx.execute(looks)]


def is_broken(tx: Connection, user_id: UUID, scope: Scope) -> bool:
    """What policies ask, for a transaction that is open: whether its person may see `scope` of `user_id` now."""
    found: bool = tx.execute(select(func.app.glass_broken(user_id, scope.value))).scalar_one()
    return found


def mend(actor: Actor, glass_id: UUID) -> Glass:
    """End one's own access early; one that has ended stays as it is.

    Raises Forbidden for anybody but staff, NotFound where it is not the actor's.
    """
    _require_staff(actor)
    own = (broken_glass.c.id == glass_id, broken_glass.c.actor_id == actor.user_id)
    ending = update(broken_glass).where(*own, broken_glass.c.ended_at.is_(None)).values(ended_at=func.now())
    with transaction(actor) as tx:
        ended = tx.execute(ending.returning(broken_glass)).one_or_none()
        row = ended or tx.execute(select(broken_glass).where(*own)).one_or_none()
        if row is None:
            raise NotFound(f"glass {glass_id}")
        if ended is not None:
            audit.record(tx, actor, "glass.mend", f"user_{row.user_id}", scope=row.scope)
    return _glass(row)


def _require_staff(actor: Actor) -> None:
    if not actor.is_staff:
        raise Forbidden("breaking the glass")


def _glass(row: Record) -> Glass:
    return Glass(
        id=row.id,
        actor_id=row.actor_id,
        user_id=row.user_id,
        scope=Scope(row.scope),
        reason=row.reason,
        started_at=row.started_at,
        until=row.until,
        ended_at=row.ended_at,
    )
