"""What WhatsApp's acknowledgements move: up to sent, delivered and read, never down."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Uuid,
    and_,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from services.contacts import number_checks
from services.db.tables.messaging import messages, pending_acks
from services.messaging.state import ACKNOWLEDGEABLE, FAILURE_OF_ACK, STATE_OF_ACK, State
from services.wppconnect.event_keys import get_message_key


def select_message_id(
    session_id: UUID, wpp_id: str, said: datetime | None = None, text: str | None = None, *, learns: bool
) -> ColumnElement[UUID | None]:
    """Takes the turn of one WhatsApp message until the transaction ends, and gives the id of its row, or null.

    An ack and the outcome that names its message may come at once: one waits until it can see the other. For a message
    that comes itself, `said` and `text` tell whether a row under another name is the same one. `learns`: a new name of
    a message of ours tells a second address of whoever got it; only under the lock of the session's events.
    """
    return func.app.find_message(session_id, wpp_id, said, text, learns, type_=Uuid)


def find_message_id(tx: Connection, session_id: UUID, wpp_id: str, *, learns: bool = False) -> UUID | None:
    """The id of the row of one WhatsApp message, under whichever of its names; what comes next has its turn.

    `learns`: see `select_message_id`.
    """
    return tx.execute(select(select_message_id(session_id, wpp_id, learns=learns))).scalar_one()


def acknowledge(tx: Connection, session_id: UUID, wpp_id: str, ack: int, at: datetime) -> None:
    """Take in one acknowledgement: never downwards; one whose message is not known yet is parked.

    A message to a group moves on with the first of its recipients: the server posts no count of its own.
    """
    message_id = find_message_id(tx, session_id, wpp_id, learns=True)
    if message_id is not None:
        _apply_ack(tx, message_id, ack, at)
        return
    # 0 says nothing, and parked it would outrank a failure.
    if ack != 0:
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
    find_message_id(tx, session_id, wpp_id)
    mine = select(messages.c.contact_id).where(messages.c.id == message_id).scalar_subquery()
    named = and_(
        messages.c.session_id == session_id,
        # Said outright: the index is of those only.
        messages.c.wpp_id.is_not(None),
        _has_key(messages.c.wpp_id, wpp_id),
        messages.c.id != message_id,
    )
    # Typed on the phone in another chat, it is another message: a list that was written to has one key in all of them.
    same_chat = or_(messages.c.contact_id == mine, func.app.may_be_one_person(messages.c.contact_id, mine))
    shadow = tx.execute(
        messages.delete()
        .where(named, same_chat, messages.c.direction == "out", messages.c.idempotency_key.is_(None))
        .returning(messages.c.ack)
    ).scalars()
    taken = select(messages.c.id).where(named, messages.c.contact_id == mine).exists()
    done = tx.execute(
        update(messages).where(messages.c.id == message_id, ~taken).values(wpp_id=wpp_id, updated_at=func.now())
    )
    if not done.rowcount:
        return False
    if known := max(ack, *shadow, 0):
        _apply_ack(tx, message_id, known, func.now())
    apply_pending_acks(tx, session_id, message_id, wpp_id)
    claim_annotations(tx, message_id)
    return True


def apply_pending_acks(tx: Connection, session_id: UUID, message_id: UUID, wpp_id: str) -> None:
    """Let a message that is known now have the acks that came before it, under whichever of its names."""
    parked = (pending_acks.c.session_id == session_id, _has_key(pending_acks.c.wpp_id, wpp_id))
    names = list(tx.execute(select(pending_acks.c.wpp_id).where(*parked)).scalars())
    mine = [name for name in names if find_message_id(tx, session_id, name) == message_id]
    if not mine:
        return
    taken = pending_acks.delete().where(pending_acks.c.session_id == session_id, pending_acks.c.wpp_id.in_(mine))
    for row in tx.execute(taken.returning(pending_acks.c.ack, pending_acks.c.received_at)).all():
        _apply_ack(tx, message_id, row.ack, row.received_at)


def claim_annotations(tx: Connection, message_id: UUID) -> None:
    """Let a message that is known now have what was noted of it before, under another of its names."""
    tx.execute(select(func.app.claim_annotations(message_id)))


def _has_key(column: ColumnElement[str], wpp_id: str) -> ColumnElement[bool]:
    return func.app.get_message_key(column) == get_message_key(wpp_id)


def _apply_ack(tx: Connection, message_id: UUID, ack: int, at: Any) -> bool:
    mine = messages.c.id == message_id
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
        number_checks.confirm_by_ack(tx, message_id)
    return bool(done.rowcount)
