"""Messages of a session: queued once, delivered once, moved on only by evidence.

    queued ─claimed, number checked─▶ sending ──201 with an id──▶ accepted ──ack 1──▶ sent ──2──▶ delivered ──3──▶ read
       │                                 │                            │
       └─nothing was sent─▶ failed       ├─refused─▶ failed           └─ack < 0─▶ failed
                                         └─time-out, 5xx, crash─▶ uncertain ──found in the chat─▶ accepted …

Nothing that may have left is ever sent again: `uncertain` is settled by an ack or by reading the chat, and what stays
uncertain waits for a person.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

import structlog
from sqlalchemy import Connection, and_, case, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import insert

from services import sessions
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.models import Record, lanes, messages, parked_acks
from services.db.models import sessions as session_rows
from services.errors import (
    N_,
    ConfigurationError,
    Conflict,
    EmptyMessage,
    Forbidden,
    InvalidInput,
    MessageTooLong,
    NotFound,
    ServiceError,
    SessionNotConnected,
    WppError,
    WppOutcomeUnknown,
)
from services.wppconnect.answers import ChatMessage
from services.wppconnect.connection import client
from services.wppconnect.phone import normalise

log = structlog.get_logger(__name__)

# WhatsApp itself takes 65,536 characters; a text of this length still reads on a phone and fits every client.
TEXT_LIMIT = 4096
KEY_LIMIT = 200
MAX_ATTEMPTS = 5
# The phone's clock and ours may differ; a message in the chat counts as ours from this long before we sent it.
CLOCK_SKEW = timedelta(seconds=30)
# A call that was cut off reaches WhatsApp within this long, or never; a later twin in the chat is another message.
LATEST_ARRIVAL = timedelta(minutes=2)
CHAT_DEPTH = 50
# When an uncertain message's chat is read: soon, then ever later; after the last it waits for a person.
RECONCILE_AFTER = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 60, 300, 1800))


# From the session's owner out, or in to them.
Direction = Literal["out", "in"]


class State(StrEnum):
    """Where a message is."""

    QUEUED = "queued"  # committed; nothing has left
    SENDING = "sending"  # committed before the HTTP call: from here on it may have left
    ACCEPTED = "accepted"  # the server gave it an id; WhatsApp has not confirmed it yet
    SENT = "sent"  # ack 1: WhatsApp's servers have it
    DELIVERED = "delivered"  # ack 2: the recipient's phone has it
    READ = "read"  # ack 3 or 4: read or played
    FAILED = "failed"  # certainly not delivered
    UNCERTAIN = "uncertain"  # may or may not have left
    RECEIVED = "received"  # inbound


# States from which an acknowledgement still moves a message.
ACKNOWLEDGEABLE = (State.SENDING, State.ACCEPTED, State.SENT, State.DELIVERED, State.READ, State.UNCERTAIN)
# Ack of WhatsApp → state. Source: wppconnect-server 2.10.4, `onack`.
STATE_OF_ACK = {1: State.SENT, 2: State.DELIVERED, 3: State.READ, 4: State.READ}

# Failure code → what happened, and what to do.
FAILURES: dict[str, tuple[str, str]] = {
    "not_on_whatsapp": (
        N_("Esse número não está no WhatsApp; nada foi enviado."),
        N_("Confira o número com a pessoa."),
    ),
    "disconnected": (
        N_("O WhatsApp estava desconectado; nada foi enviado."),
        N_("Conecte em “Meu WhatsApp” e envie de novo."),
    ),
    "unreachable": (
        N_("O servidor do WhatsApp não respondeu; nada foi enviado."),
        N_("Tente de novo em alguns minutos."),
    ),
    "refused": (
        N_("O servidor do WhatsApp recusou a mensagem."),
        N_("Confira o número; se repetir, fale com o suporte."),
    ),
    "rejected": (
        N_("O WhatsApp não entregou a mensagem."),
        N_("Confira o número e a conexão antes de enviar outra."),
    ),
    "unknown": (
        N_("Não sabemos se a mensagem saiu; ela não será reenviada sozinha."),
        N_("Estamos conferindo na conversa. Veja no celular antes de enviar de novo."),
    ),
}


@dataclass(frozen=True)
class Message:
    """A message as its owner sees it. `phone` is digits with country code; `seq` orders all messages as they came."""

    id: UUID
    seq: int
    direction: Direction
    state: State
    phone: str
    contact_name: str | None
    body: str
    failure: str | None
    run_at: datetime
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Claimed:
    """A message whose lane one worker holds. `attempt` fences its outcome: a later claim makes this one's void."""

    id: UUID
    session_id: UUID
    session_name: str
    server_url: str
    phone: str
    body: str
    attempt: int
    request_id: str | None


@dataclass(frozen=True)
class Outcome:
    """What became of one delivery. `retry` is true only where it is certain that nothing left."""

    state: Literal[State.QUEUED, State.ACCEPTED, State.FAILED, State.UNCERTAIN]
    failure: str | None = None
    wpp_id: str | None = None
    address: str | None = None
    ack: int = 0

    @property
    def retry(self) -> bool:
        return self.state is State.QUEUED


# --- what a person does ---------------------------------------------------------------------------------------------


def queue(
    actor: Actor,
    phone: str,
    body: str,
    idempotency_key: str,
    contact_name: str | None = None,
    run_at: datetime | None = None,
) -> Message:
    """Queue a text for the actor's own session, to leave at `run_at` (default now).

    The same `idempotency_key` of the same user queues once: a repetition returns the first message. Raises
    EmptyMessage, MessageTooLong, InvalidPhone, SessionNotConnected, and Conflict where the key came with another
    recipient or text before.
    """
    if actor.user_id is None:
        raise Forbidden("only a signed-in user sends")
    content = _checked(body, idempotency_key)
    digits = normalise(phone)
    with transaction(actor) as tx:
        session = tx.execute(
            select(session_rows.c.id, session_rows.c.status).where(session_rows.c.user_id == actor.user_id)
        ).one_or_none()
        if session is None or session.status != sessions.Status.CONNECTED:
            raise SessionNotConnected(f"session of {actor.user_id}")
        row = _insert(tx, actor.user_id, session.id, digits, content, idempotency_key, contact_name, run_at)
        row = row or tx.execute(select(*_COLUMNS).where(_key(actor.user_id, idempotency_key))).one()
        if (row.phone, row.body) != (digits, content):
            raise Conflict(f"idempotency key {idempotency_key!r} was used for another message")
    return _message(row)


def recent(
    actor: Actor, limit: int = 30, *, direction: Direction | None = "out", before: int | None = None
) -> list[Message]:
    """The actor's own newest messages, newest first.

    Of one direction, or (None) of both; with `before` only those of a smaller `seq`.
    """
    mine = select(*_COLUMNS).where(messages.c.user_id == actor.user_id)
    if direction is not None:
        mine = mine.where(messages.c.direction == direction)
    if before is not None:
        mine = mine.where(messages.c.seq < before)
    with transaction(actor) as tx:
        rows = tx.execute(mine.order_by(messages.c.seq.desc()).limit(limit)).all()
    return [_message(row) for row in rows]


def get(actor: Actor, message_id: UUID) -> Message:
    """One of the actor's own messages. Raises NotFound, also where it is somebody else's."""
    with transaction(actor) as tx:
        row = tx.execute(
            select(*_COLUMNS).where(messages.c.id == message_id, messages.c.user_id == actor.user_id)
        ).one_or_none()
    if row is None:
        raise NotFound(f"message {message_id}")
    return _message(row)


# --- what the worker does ---------------------------------------------------------------------------------------------


def deliver(claimed: Claimed) -> Outcome | None:
    """Check the number, commit `sending`, send. None where another worker has taken the message over meanwhile."""
    try:
        check = client().check_number(claimed.server_url, claimed.session_name, claimed.phone)
    except (WppError, ConfigurationError) as error:
        return _nothing_left(claimed, error)
    if not check.exists:
        return Outcome(State.FAILED, "not_on_whatsapp")
    address = check.address or claimed.phone
    if not _mark_sending(claimed, address):
        return None
    try:
        sent = client().send_text(claimed.server_url, claimed.session_name, address, claimed.body)
    except WppOutcomeUnknown:
        return Outcome(State.UNCERTAIN, "unknown", address=address)
    except WppError as error:
        return _nothing_left(claimed, error)
    return Outcome(State.ACCEPTED, wpp_id=sent.id, address=address, ack=sent.ack)


def settle(tx: Connection, claimed: Claimed, outcome: Outcome, *, late: bool = False) -> bool:
    """Write down what became of a delivery, and join an ack that came before it; False where the fence refused it.

    `late` is for a worker whose lease ended under it: it may still settle what was called uncertain meanwhile.
    """
    expected = (State.UNCERTAIN,) if late else (State.QUEUED, State.SENDING)
    done = tx.execute(
        update(messages)
        .where(
            messages.c.id == claimed.id,
            messages.c.attempts == claimed.attempt,
            messages.c.state.in_(expected),
        )
        .values(
            state=outcome.state,
            failure=outcome.failure,
            address=func.coalesce(outcome.address, messages.c.address),
            accepted_at=func.now() if outcome.state is State.ACCEPTED else None,
            ended_at=func.now() if outcome.state is State.FAILED else None,
            reconcile_at=func.now() + RECONCILE_AFTER[0] if outcome.state is State.UNCERTAIN else None,
            uncertain_at=func.now() if outcome.state is State.UNCERTAIN else messages.c.uncertain_at,
            updated_at=func.now(),
        )
    )
    if done.rowcount and outcome.wpp_id:
        _adopt(tx, claimed.session_id, claimed.id, outcome.wpp_id, outcome.ack)
    return bool(done.rowcount)


def abandon(tx: Connection, session_ids: Sequence[UUID]) -> int:
    """Messages that a dead worker left in `sending`: whether they left is unknown. Returns how many there were."""
    done = tx.execute(
        update(messages)
        .where(messages.c.session_id.in_(session_ids), messages.c.state == State.SENDING)
        .values(
            state=State.UNCERTAIN,
            failure="unknown",
            reconcile_at=func.now() + RECONCILE_AFTER[0],
            uncertain_at=func.now(),
            updated_at=func.now(),
        )
    )
    return int(done.rowcount)


def acknowledge(tx: Connection, session_id: UUID, wpp_id: str, ack: int, at: datetime) -> None:
    """Take in one acknowledgement: never downwards; one whose message is not known yet is parked."""
    _serialise(tx, session_id, wpp_id)
    if _apply_ack(tx, session_id, wpp_id, ack, at):
        return
    known = tx.execute(select(literal(1)).where(_with_wpp_id(session_id, wpp_id))).first()
    if known is None:
        parked = insert(parked_acks).values(session_id=session_id, wpp_id=wpp_id, ack=ack, at=at)
        tx.execute(
            parked.on_conflict_do_update(
                index_elements=["session_id", "wpp_id"],
                set_={"ack": func.greatest(parked_acks.c.ack, parked.excluded.ack)},
            )
        )


def reconcile(limit: int = 50) -> int:
    """Read the chats of uncertain messages back and settle those that are found there; returns how many were asked."""
    with transaction(SYSTEM) as tx:
        due = (
            select(messages.c.id)
            .where(messages.c.state == State.UNCERTAIN, messages.c.reconcile_at <= func.now())
            .order_by(messages.c.reconcile_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = tx.execute(
            update(messages)
            .where(messages.c.id.in_(due), session_rows.c.id == messages.c.session_id)
            .values(reconciliations=messages.c.reconciliations + 1, reconcile_at=_next_reconciliation())
            .returning(*_COLUMNS, messages.c.session_id, messages.c.address, messages.c.sending_at, *_SESSION_COLUMNS)
        ).all()
    for row in rows:
        _reconcile_one(row)
    return len(rows)


# --- one delivery -----------------------------------------------------------------------------------------------------


def _nothing_left(claimed: Claimed, error: ServiceError) -> Outcome:
    """The outcome of a failure of which it is certain that nothing left."""
    if not error.safe_to_retry:
        return Outcome(State.FAILED, "refused")
    if claimed.attempt < MAX_ATTEMPTS:
        return Outcome(State.QUEUED)
    return Outcome(State.FAILED, "disconnected" if error.http_status == 409 else "unreachable")


def _mark_sending(claimed: Claimed, address: str) -> bool:
    with transaction(SYSTEM) as tx:
        done = tx.execute(
            update(messages)
            .where(
                messages.c.id == claimed.id,
                messages.c.attempts == claimed.attempt,
                messages.c.state == State.QUEUED,
                lanes.c.session_id == messages.c.session_id,
                lanes.c.free_at > func.clock_timestamp(),
            )
            .values(state=State.SENDING, sending_at=func.clock_timestamp(), address=address, updated_at=func.now())
        )
    return bool(done.rowcount)


def _adopt(tx: Connection, session_id: UUID, message_id: UUID, wpp_id: str, ack: int) -> bool:
    """Give a message the id that WhatsApp knows it by, with the highest ack seen for it; False where it is taken."""
    _serialise(tx, session_id, wpp_id)
    taken = select(messages.c.id).where(_with_wpp_id(session_id, wpp_id)).exists()
    done = tx.execute(
        update(messages).where(messages.c.id == message_id, ~taken).values(wpp_id=wpp_id, updated_at=func.now())
    )
    if not done.rowcount:
        return False
    parked = tx.execute(
        parked_acks.delete()
        .where(parked_acks.c.session_id == session_id, parked_acks.c.wpp_id == wpp_id)
        .returning(parked_acks.c.ack, parked_acks.c.at)
    ).one_or_none()
    if ack:
        _apply_ack(tx, session_id, wpp_id, ack, func.now())
    if parked:
        _apply_ack(tx, session_id, wpp_id, parked.ack, parked.at)
    return True


def _serialise(tx: Connection, session_id: UUID, wpp_id: str) -> None:
    """An ack and the outcome that names its message may come at once: one waits until it can see the other."""
    tx.execute(text("select pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"{session_id}{wpp_id}"})


def _apply_ack(tx: Connection, session_id: UUID, wpp_id: str, ack: int, at: Any) -> bool:
    mine = _with_wpp_id(session_id, wpp_id)
    if ack < 0:
        failed = update(messages).where(mine, messages.c.ack < 1, messages.c.state.in_(ACKNOWLEDGEABLE))
        return bool(
            tx.execute(
                failed.values(state=State.FAILED, failure="rejected", ended_at=at, updated_at=func.now())
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
    return bool(done.rowcount)


def _next_reconciliation() -> Any:
    after = {number: func.now() + delay for number, delay in enumerate(RECONCILE_AFTER[1:])}
    return case(after, value=messages.c.reconciliations, else_=None)


def _reconcile_one(row: Record) -> None:
    try:
        chat = client().get_messages(row.server_url, row.session_name, row.phone, count=CHAT_DEPTH)
    except (WppError, ConfigurationError) as error:
        log.info("reconcile_unanswered", message=str(row.id), error=type(error).__name__)
        return
    with transaction(SYSTEM) as tx:
        found = any(
            _adopt_uncertain(tx, row, candidate) for candidate in chat if _may_be(candidate, row.body, row.sending_at)
        )
    log.info("reconciled", message=str(row.id), found=found)


def _may_be(candidate: ChatMessage, body: str, sending_at: datetime) -> bool:
    if candidate.timestamp is None or not candidate.from_me or candidate.body != body:
        return False
    earliest, latest = (sending_at - CLOCK_SKEW).timestamp(), (sending_at + LATEST_ARRIVAL).timestamp()
    return earliest <= candidate.timestamp <= latest


def _adopt_uncertain(tx: Connection, row: Record, candidate: ChatMessage) -> bool:
    if not _adopt(tx, row.session_id, row.id, candidate.id, max(candidate.ack or 0, 0)):
        return False
    tx.execute(update(messages).where(messages.c.id == row.id).values(reconciled_at=func.now()))
    tx.execute(
        update(messages)
        .where(messages.c.id == row.id, messages.c.state == State.UNCERTAIN)
        .values(
            state=State.ACCEPTED,
            failure=None,
            accepted_at=func.now(),
            reconcile_at=None,
            updated_at=func.now(),
        )
    )
    return True


# --- statements and rows ----------------------------------------------------------------------------------------------

_COLUMNS = (
    messages.c.id,
    messages.c.seq,
    messages.c.direction,
    messages.c.state,
    messages.c.phone,
    messages.c.contact_name,
    messages.c.body,
    messages.c.failure,
    messages.c.run_at,
    messages.c.created_at,
    messages.c.sent_at,
    messages.c.delivered_at,
    messages.c.read_at,
    messages.c.ended_at,
)
_SESSION_COLUMNS = (session_rows.c.session_id.label("session_name"), session_rows.c.server_url)


def _checked(body: str, idempotency_key: str) -> str:
    content = body.strip()
    if not content:
        raise EmptyMessage("empty text")
    if len(content) > TEXT_LIMIT:
        raise MessageTooLong(f"{len(content)} characters", limit=TEXT_LIMIT)
    if "\x00" in content or not 0 < len(idempotency_key) <= KEY_LIMIT:
        raise InvalidInput("NUL in the text, or an idempotency key of no or over 200 characters")
    return content


def _insert(
    tx: Connection,
    user_id: UUID,
    session_id: UUID,
    phone: str,
    body: str,
    key: str,
    contact_name: str | None,
    run_at: datetime | None,
) -> Record | None:
    due = run_at if run_at is not None else func.now()
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    row = tx.execute(
        insert(messages)
        .values(
            session_id=session_id,
            user_id=user_id,
            direction="out",
            state=State.QUEUED,
            phone=phone,
            contact_name=contact_name,
            body=body,
            idempotency_key=key,
            request_id=request_id,
            run_at=due,
        )
        .on_conflict_do_nothing(
            index_elements=["user_id", "idempotency_key"], index_where=text("idempotency_key is not null")
        )
        .returning(*_COLUMNS)
    ).one_or_none()
    if row is not None:
        tx.execute(update(lanes).where(lanes.c.session_id == session_id).values(due_at=func.least(lanes.c.due_at, due)))
        tx.execute(text("select pg_notify('lanes', '')"))
    return row


def _key(user_id: UUID, key: str) -> Any:
    return and_(messages.c.user_id == user_id, messages.c.idempotency_key == key)


def _with_wpp_id(session_id: UUID, wpp_id: str) -> Any:
    return and_(messages.c.session_id == session_id, messages.c.wpp_id == wpp_id)


def _message(row: Record) -> Message:
    return Message(
        id=row.id,
        seq=row.seq,
        direction=row.direction,
        state=State(row.state),
        phone=row.phone,
        contact_name=row.contact_name,
        body=row.body,
        failure=row.failure,
        run_at=row.run_at,
        created_at=row.created_at,
        sent_at=row.sent_at,
        delivered_at=row.delivered_at,
        read_at=row.read_at,
        ended_at=row.ended_at,
    )
