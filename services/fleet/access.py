"""Who may act on whose session, and the record of what staff do to the session of somebody else."""

from uuid import UUID

from sqlalchemy import (
    Connection,
)

from services.db.actor import SYSTEM, Actor
from services.errors import (
    Forbidden,
)
from services.fleet import timeline
from services.security import audit_log


def require_owner(actor: Actor, user_id: UUID | None) -> UUID:
    """The owner whose session the actor may act on: `user_id`, or the actor where it is None.

    A refusal of a signed-in user is recorded.

    Raises: Forbidden where the session is somebody else's and the actor is neither staff nor the system; also where
        there is no owner.
    """
    owner = user_id or actor.user_id
    if owner is None or (owner != actor.user_id and not actor.is_staff and actor != SYSTEM):
        if actor.user_id is not None:
            audit_log.record_refusal(actor, "cross_tenant", f"user_{owner}")
        raise Forbidden(f"session of {owner}")
    return owner


def record_staff_action(tx: Connection, actor: Actor, owner: UUID, session_id: UUID, action: str) -> None:
    """What staff do to somebody's session stands in the audit log and in the session's own timeline."""
    if actor.is_staff and owner != actor.user_id:
        audit_log.record(tx, actor, action, f"user_{owner}")
        timeline.add_entry(tx, session_id, owner, timeline.Kind.STAFF, action)
