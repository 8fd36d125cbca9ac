"""Reads back what came in during an outage: each missing message once, and the reason for what cannot be read."""

from collections.abc import Callable
from uuid import UUID

import structlog
from sqlalchemy import func, insert, select

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.tables.contacts import contacts
from services.db.tables.inbound import outage_chats
from services.db.tables.inbound import outages as outage_rows
from services.errors import (
    N_,
    Conflict,
    DatabaseUnavailable,
    NotFound,
)
from services.inbound.backfill_round import ClaimedOutage, ClaimLost, claim_outages, end_round, read_outage
from services.inbound.outages import LOOKBACK, OutageReason
from services.platform.claim_pool import ClaimPool

log = structlog.get_logger(__name__)

MAX_PARALLEL = 16
MAX_REQUESTED = 5


class BackfillUnderWay(Conflict):
    code = "releitura_em_andamento"
    message = N_("Ainda estamos lendo as conversas que você pediu.")
    hint = N_("Espere elas terminarem; o andamento aparece em “Lacunas”.")


def request_chat(actor: Actor, contact_id: UUID) -> UUID:
    """Have one chat of the actor's own read again, the last 30 days or 1,000 messages; returns the outage's id.

    Raises: NotFound for somebody else's contact or one of an earlier number, and BackfillUnderWay where too much was
        asked for already.
    """
    with transaction(actor) as tx:
        mine = select(contacts.c.session_id, contacts.c.address)
        present = mine.where(contacts.c.user_id == actor.user_id, contacts.c.of_number.is_(None))
        found = tx.execute(present.where(contacts.c.id == contact_id)).one_or_none()
        if found is None:
            raise NotFound(f"contact {contact_id}")
        waiting = select(func.count()).where(
            outage_rows.c.session_id == found.session_id,
            outage_rows.c.reason == OutageReason.ASKED,
            outage_rows.c.done_at.is_(None),
        )
        if tx.execute(waiting).scalar_one() >= MAX_REQUESTED:
            raise BackfillUnderWay
        asked = insert(outage_rows).values(
            session_id=found.session_id,
            user_id=actor.user_id,
            from_at=func.now() - LOOKBACK,
            to_at=func.now(),
            reason=OutageReason.ASKED,
            listed_at=func.now(),
            chats=1,
        )
        outage_id: UUID = tx.execute(asked.returning(outage_rows.c.id)).scalar_one()
        tx.execute(insert(outage_chats).values(outage_id=outage_id, address=found.address, user_id=actor.user_id))
    return outage_id


def build_reader(on_free: Callable[[], None] = lambda: None) -> ClaimPool[ClaimedOutage]:
    """What reads outages back, up to 16 at once, few of each server."""
    return ClaimPool("backfill", claim_outages, _read, MAX_PARALLEL, on_free)


def _read(outage: ClaimedOutage) -> None:
    with structlog.contextvars.bound_contextvars(outage=str(outage.id), session=outage.session_name):
        try:
            read_outage(outage)
        except ClaimLost:
            log.info("outage_taken_over")
        except DatabaseUnavailable:
            # What was read is committed; the rest waits for the lease's end.
            log.warning("outage_interrupted")
        # The outermost loop of one outage: whatever is wrong with it must not end in silence.
        except Exception as error:
            log.exception("outage_failed", error=type(error).__name__)
            end_round(outage, "internal")
