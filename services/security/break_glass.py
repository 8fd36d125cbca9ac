"""Break-glass access: staff see a user's own data only for a written reason, for some minutes, and on the record.

    grant_access ──▶ active ──end_access, or its time is over──▶ ended

No job has to run for an access to end: each use compares with the database's own clock. Where the database keeps data
from staff, its policy asks `app.has_break_glass(user_id, scope)`; where only the code does, it asks `get_active_grant`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, func, insert, select, update

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row, read_rows
from services.db.tables.security import break_glass_grants
from services.errors import N_, InvalidInput, NotFound
from services.security import audit_log

DEFAULT_MINUTES = 15
MAX_MINUTES = 60
MIN_REASON_LENGTH = 10
MAX_REASON_LENGTH = 500


class Scope(StrEnum):
    """What a grant lets staff see."""

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


class InvalidMinutes(InvalidInput):
    code = "minutos_invalidos"
    message = N_("O acesso dura de 1 a {limit} minutos.")
    hint = N_("Escolha um tempo menor; ele pode ser aberto de novo.")


@dataclass(frozen=True)
class AccessGrant:
    """One access of one staff member to one user's own, until `expires_at` or, where it was mended, `ended_at`."""

    id: UUID
    actor_id: UUID
    user_id: UUID
    scope: Scope
    reason: str
    started_at: datetime
    expires_at: datetime
    ended_at: datetime | None


def grant_access(actor: Actor, user_id: UUID, scope: str, reason: str, minutes: int = DEFAULT_MINUTES) -> AccessGrant:
    """Let `actor` see `scope` of `user_id` for `minutes`. Recorded with its reason, which must have 10 characters.

    Raises: Forbidden for anybody but staff (the database refuses them too), ReasonTooShort, ReasonTooLong,
        InvalidMinutes, and ValueError for a scope that does not exist.
    """
    actor.require_staff("breaking the glass")
    chosen, said = Scope(scope), " ".join(reason.replace("\0", "").split())
    if len(said) < MIN_REASON_LENGTH:
        raise ReasonTooShort(limit=MIN_REASON_LENGTH)
    if len(said) > MAX_REASON_LENGTH:
        raise ReasonTooLong(limit=MAX_REASON_LENGTH)
    if not 1 <= minutes <= MAX_MINUTES:
        raise InvalidMinutes(limit=MAX_MINUTES)
    until = func.now() + timedelta(minutes=minutes)
    values = {"actor_id": actor.user_id, "user_id": user_id, "scope": chosen, "reason": said, "expires_at": until}
    with transaction(actor) as tx:
        row = tx.execute(insert(break_glass_grants).values(values).returning(break_glass_grants)).one()
        audit_log.record(tx, actor, "glass.break", f"user_{user_id}", scope=chosen, reason=said, minutes=minutes)
    return read_row(AccessGrant, row)


def get_active_grant(actor: Actor, user_id: UUID, scope: str) -> AccessGrant | None:
    """The actor's own access that is open just now, the one that lasts longest, or None."""
    if not actor.is_staff:
        return None
    newest = (
        select(break_glass_grants)
        .where(
            break_glass_grants.c.actor_id == actor.user_id,
            break_glass_grants.c.user_id == user_id,
            break_glass_grants.c.scope == Scope(scope),
            break_glass_grants.c.ended_at.is_(None),
            break_glass_grants.c.expires_at > func.clock_timestamp(),
        )
        .order_by(break_glass_grants.c.expires_at.desc())
        .limit(1)
    )
    with transaction(actor) as tx:
        row = tx.execute(newest).one_or_none()
    return read_row(AccessGrant, row) if row else None


def list_recent_grants(actor: Actor, limit: int = 3) -> list[AccessGrant]:
    """The newest looks of staff at what is the actor's own, within the last 30 days."""
    looks = (
        select(break_glass_grants)
        .where(
            break_glass_grants.c.user_id == actor.user_id,
            break_glass_grants.c.started_at > func.now() - timedelta(days=30),
        )
        .order_by(break_glass_grants.c.started_at.desc())
        .limit(limit)
    )
    with transaction(actor) as tx:
        return read_rows(AccessGrant, tx.execute(looks))


def is_granted(tx: Connection, user_id: UUID, scope: Scope) -> bool:
    """What policies ask, for a transaction that is open: whether its person may see `scope` of `user_id` now."""
    found: bool = tx.execute(select(func.app.has_break_glass(user_id, scope.value))).scalar_one()
    return found


def end_access(actor: Actor, grant_id: UUID) -> AccessGrant:
    """End one's own access early; one that has ended stays as it is.

    Raises: Forbidden for anybody but staff, NotFound where it is not the actor's.
    """
    actor.require_staff("breaking the glass")
    own = (break_glass_grants.c.id == grant_id, break_glass_grants.c.actor_id == actor.user_id)
    ending = update(break_glass_grants).where(*own, break_glass_grants.c.ended_at.is_(None)).values(ended_at=func.now())
    with transaction(actor) as tx:
        ended = tx.execute(ending.returning(break_glass_grants)).one_or_none()
        row = ended or tx.execute(select(break_glass_grants).where(*own)).one_or_none()
        if row is None:
            raise NotFound(f"glass {grant_id}")
        if ended is not None:
            audit_log.record(tx, actor, "glass.mend", f"user_{row.user_id}", scope=row.scope)
    return read_row(AccessGrant, row)
