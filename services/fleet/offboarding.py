"""Offboarding: the worker closes the sessions of users who may no longer sign in."""

import structlog
from sqlalchemy import select

from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.tables.accounts import accounts
from services.db.tables.fleet import sessions as session_rows
from services.errors import ServiceError
from services.fleet import commands
from services.fleet.session import Status

log = structlog.get_logger(__name__)


def close_sessions_of_inactive_users() -> int:
    """What the worker does: close the sessions of whoever was shut out; returns how many there were.

    One that fails is tried again in the next round.
    """
    shut_out = (
        select(session_rows.c.user_id)
        .join(accounts, accounts.c.user_id == session_rows.c.user_id)
        .where(~accounts.c.active, session_rows.c.status != Status.DISCONNECTED)
    )
    with transaction(SYSTEM) as tx:
        people = tx.execute(shut_out).scalars().all()
    for user_id in people:
        try:
            commands.close(SYSTEM, user_id)
        except ServiceError as error:
            log.warning("session_of_inactive_not_closed", session=f"user_{user_id}", error=type(error).__name__)
    return len(people)
