"""What WhatsApp's acknowledgements move: up to sent, delivered and read, never down."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from services.contacts import number_checks
from services.db.tables.messaging import messages, pending_acks
from services.messaging.state import ACKNOWLEDGEABLE, FAILURE_OF_ACK, STATE_OF_ACK, State
from services.wppconnect.event_keys import get_message_key


def has_wpp_id(session_id: UUID, wpp_id: str) -> ColumnElement[bool]:
    """The session's row of one WhatsApp message, under whichever of its names."""
    return and_(
        messages.c.session_id == session_id,
        # Said outright: the index is of those only.
        messages.c.wpp_id.is_not(None),
        func.app.get_message_key(messages.c.wpp_id) == get_message_key(wpp_id),
    )


def get_known_wpp_id(tx: Connection, session_id: UUID, wpp_id: str) -> str:
    """The name under which the session's row has a WhatsApp message; `wpp_id` itself where there is no row."""
    known: str | None = tx.execute(select(messages.c.wpp_id).where(has_wpp_id(session_id, wpp_id))).scalar_one_or_none()
    return known or wpp_id


def wpp_id_lock(session_id: UUID, wpp_id: str) -> ColumnElement[Any]:
    """Takes the turn of one WhatsApp message until the transaction ends.

    An ack and the outcome that names its message may come at once: one waits until it can see the other.
    """
    return func.pg_advisory_xact_lock(func.hashtextextended(f"{session_id}{get_message_key(wpp_id)}", 0))


def lock_wpp_id(tx: Connection, session_id: UUID, wpp_id: str) -> None:
    """Take the turn of one WhatsApp message; what comes next sees what whoever had it has done."""
    tx.execute(select(wpp_id_lock(session_id, wpp_id)))


def acknowledge(tx: Connection, session_id: UUID, wpp_id: str, ack: int, at: datetime) -> None:
    """Take in one acknowledgement: never downwards; one whose message is not known yet is parked.

    A message to a group moves on with the first of its recipients: the server posts no count of its own.
    """
    lock_wpp_id(tx, session_id, wpp_id)
    if _apply_ack(tx, session_id, wpp_id, ack, at):
        return
    known = tx.execute(select(literal(1)).where(has_wpp_id(session_id, wpp_id))).first()
    # 0 says nothing, and parked it would outrank a failure.
    if known is None and ack != 0:
        pending = insert(pending_acks).values(session_id=session_id, wpp_id=wpp_id, ack=ack, received_at=at)
        tx.execute(
            pending.on_conflict_do_update(
                index_elements=["session_id", "wpp_id"],
                set_={"ack": func.greatest(pending_acks.c.ack, pending.excluded.ack)},
            )
        )


def adopt_wpp_id(tx: Connection, session_id: UUID, message_id: UUID, wpp_id: str, ack: int) -> bool:
    """Give a message the id that WhatsApp knows it by, with the highest ack seen for it; False where it is taken.

    WhatsApp may have told of the message before the server answered, as of one typed on the phone: that row was only
    its shadow.
    """
    lock_wpp_id(tx, session_id, wpp_id)
    shadow = tx.execute(
        messages.delete()
        .where(
            has_wpp_id(session_id, wpp_id),
            messages.c.id != message_id,
            messages.c.direction == "out",
            messages.c.idempotency_key.is_(None),
        )
        .returning(messages.c.ack)
    ).scalar_one_or_none()
    taken = select(messages.c.id).where(has_wpp_id(session_id, wpp_id)).exists()
    done = tx.execute(
        update(messages).where(messages.c.id == message_id, ~taken).values(wpp_id=wpp_id, updated_at=func.now())
    )
    if not done.rowcount:
        return False
    if known := max(ack, shadow or 0):
        _apply_ack(tx, session_id, wpp_id, known, func.now())
    apply_pending_acks(tx, session_id, wpp_id)
    return True


def apply_pending_acks(tx: Connection, session_id: UUID, wpp_id: str) -> None:
    """Let a message that is known now have the ack that came before it."""
    pending = tx.execute(
        pending_acks.delete()
        .where(
            pending_acks.c.session_id == session_id,
            func.app.get_message_key(pending_acks.c.wpp_id) == get_message_key(wpp_id),
        )
        .returning(pending_acks.c.ack, pending_acks.c.received_at)
    ).all()
    for one in pending:
        _apply_ack(tx, session_id, wpp_id, one.ack, one.received_at)


def _apply_ack(tx: Connection, session_id: UUID, wpp_id: str, ack: int, at: Any) -> bool:
    mine = has_wpp_id(session_id, wpp_id)
    if ack < 0:
        failed = update(messages).where(mine, messages.c.ack < 1, messages.c.state.in_(ACKNOWLEDGEABLE))
        return bool(
            tx.execute(
                failed.values(
                    state=State.FAILED, failure=FAILURE_OF_ACK.get(ack, "rejected"), ended_at=at, updated_at=func.now()
                )
            ).rowcount
        )
    if ack not in STATE_OF_ACK:
        return False
    done = tx.execute(
        update(messages)
        .where(mine, messages.c.ack < ack)
        .values(
            ack=ack,
            state=STATE_OF_ACK[ack],
            failure=None,
            sent_at=func.coalesce(messages.c.sent_at, at),
            delivered_at=func.coalesce(messages.c.delivered_at, at) if ack >= 2 else messages.c.delivered_at,
            read_at=func.coalesce(messages.c.read_at, at) if ack >= 3 else messages.c.read_at,
            ended_at=None,
            reconcile_at=None,
            updated_at=func.now(),
        )
    )
    if done.rowcount:
        number_checks.confirm_by_ack(tx, session_id, wpp_id)
    return bool(done.rowcount)
