"""Messages of a session: queued once, delivered once, moved on only by evidence.

    queued ─claimed, number checked─▶ sending ──201 with an id──▶ accepted ──ack 1──▶ sent ──2──▶ delivered ──3──▶ read
       │                                 │                            │
       ├─not on WhatsApp─▶ failed        ├─refused─▶ failed           └─ack < 0─▶ failed
       ├─taken back─▶ cancelled          ├─time-out, 5xx, crash─▶ uncertain ──found in the chat─▶ accepted …
       ◀──────server or session away─────┘

What certainly did not leave stays queued and says what it waits for (`Reason`); how long that takes never fails it.
What waited for longer than SEND_ASK_AFTER_HOURS does not leave by itself any more: its owner is asked (`asked`,
`answer`). Nothing that may have left is ever sent again: `uncertain` is settled by an ack or by reading the chat, and
what stays uncertain waits for a person.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    DateTime,
    Text,
    and_,
    case,
    func,
    literal,
    literal_column,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from services import courier, numbers, sessions, settings
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.models import Record, lanes, messages, parked_acks
from services.db.models import campaigns as campaign_rows
from services.db.models import media as media_rows
from services.db.models import sessions as session_rows
from services.db.notify import ring
from services.errors import (
    N_,
    ConfigurationError,
    Conflict,
    EmptyMessage,
    Forbidden,
    InvalidInput,
    MediaUnavailable,
    MessageTooLong,
    NotFound,
    ServiceError,
    SessionNotConnected,
    TooLateToCancel,
    WppChatNotFound,
    WppDisconnected,
    WppError,
    WppNoAnswer,
    WppOutcomeUnknown,
    WppRefused,
    WppUnauthorized,
    WppUnreachable,
)
from services.media import Media
from services.wppconnect.answers import ChatMessage
from services.wppconnect.connection import client
from services.wppconnect.events import message_key
from services.wppconnect.phone import is_group, normalise

log = structlog.get_logger(__name__)

# WhatsApp itself takes 65,536 characters; a text of this length still reads on a phone and fits every client.
TEXT_LIMIT = 4096
KEY_LIMIT = 200
CHAT_DEPTH = 50
# How long before a doubtful message its owner is shown what else left.
CHAT_LOOK_BACK = timedelta(minutes=10)
# When a message is tried again whose number could not be asked about: the hour's budget for such questions is spent, or
# this many questions in a row had no answer. What stands behind it has its turn meanwhile.
NUMBERS_LATER = timedelta(minutes=10)
QUESTIONS_IN_A_ROW = 5
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
    CANCELLED = "cancelled"  # taken back before anything left
    RECEIVED = "received"  # inbound


class Reason(StrEnum):
    """What a message waits for that is due and certainly did not leave."""

    SERVER = "server"  # nobody answers at its server's address
    SESSION = "session"  # its session is not up
    NO_ANSWER = "no_answer"  # the server is there, and what must be asked before a send has no answer
    SETUP = "setup"  # the server is configured no longer, or does not take our secret
    FILES = "files"  # the media store does not give its file
    NUMBERS = "numbers"  # its number cannot be asked about yet
    OWNER = "owner"  # it waited too long: it leaves when its owner says so


# What is waited for → the sentence, before `há 4 min`.
WAITING: dict[Reason, str] = {
    Reason.SERVER: N_("Esperando o servidor do WhatsApp voltar"),
    Reason.SESSION: N_("Esperando seu WhatsApp reconectar"),
    Reason.NO_ANSWER: N_("Esperando o WhatsApp responder"),
    Reason.SETUP: N_("Esperando a equipe acertar o acesso ao servidor do WhatsApp"),
    Reason.FILES: N_("Esperando o arquivo poder ser lido"),
    Reason.NUMBERS: N_("Esperando poder conferir o número no WhatsApp"),
    Reason.OWNER: N_("Esperando a sua decisão em “Incertos”"),
}

# Failure by negative ack. Words of WhatsApp Web's own list of acks; that they are posted is measured.
FAILURE_OF_ACK = {
    -2: "expired",
    -3: "content_gone",
    -4: "too_big",
    -5: "not_uploaded",
    -6: "inactive",
    -7: "old_version",
}
# States from which an acknowledgement still moves a message.
ACKNOWLEDGEABLE = (State.SENDING, State.ACCEPTED, State.SENT, State.DELIVERED, State.READ, State.UNCERTAIN)
# Ack of WhatsApp → state. Source: wppconnect-server 2.10.4, `onack`.
STATE_OF_ACK = {1: State.SENT, 2: State.DELIVERED, 3: State.READ, 4: State.READ}

# Failure code → what happened, and what to do. `disconnected` and `unreachable` are of messages of earlier versions.
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
    "file_gone": (
        N_("O arquivo desta mensagem não existe mais; nada foi enviado."),
        N_("Envie o arquivo de novo."),
    ),
    "sent_again": (
        N_("Ela não tinha saído: outra foi posta na fila no lugar dela."),
        N_("Acompanhe a nova na lista."),
    ),
    "dropped": (
        N_("Você a descartou sem saber se saiu."),
        N_("Se ela tiver saído, a conversa no celular mostra."),
    ),
    "rejected": (
        N_("O WhatsApp não entregou a mensagem."),
        N_("Confira o número e a conexão antes de enviar outra."),
    ),
    "expired": (
        N_("A mensagem expirou antes de o WhatsApp entregá-la."),
        N_("Confira a conexão do celular e envie outra."),
    ),
    "content_gone": (
        N_("O arquivo da mensagem não está mais no WhatsApp; ela não foi entregue."),
        N_("Envie o arquivo de novo."),
    ),
    "too_big": (
        N_("O WhatsApp recusou o arquivo: é grande demais."),
        N_("Envie um arquivo menor."),
    ),
    "not_uploaded": (
        N_("O WhatsApp não conseguiu receber o arquivo."),
        N_("Confira se o arquivo abre e envie de novo."),
    ),
    "inactive": (
        N_("O WhatsApp não entregou: a conta ou o aparelho está inativo."),
        N_("Abra o WhatsApp no celular e confira a conta."),
    ),
    "old_version": (
        N_("O WhatsApp não entregou: o aparelho da pessoa não aceita este tipo de mensagem."),
        N_("Envie como texto simples, ou peça que ela atualize o WhatsApp."),
    ),
    "unknown": (
        N_("Não sabemos se a mensagem saiu; ela não será reenviada sozinha."),
        N_("Estamos conferindo na conversa. Veja no celular antes de enviar de novo."),
    ),
}


class Kind(StrEnum):
    """What a message carries, in WhatsApp's own words. One that comes in may be of a kind that is not listed here."""

    TEXT = "chat"
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    VOICE = "ptt"
    DOCUMENT = "document"
    STICKER = "sticker"
    LOCATION = "location"  # detail: lat, lng, title, address
    CONTACT = "vcard"  # detail: name, phone


# Kinds that are nothing without a file, and those whose meaning is in `detail`.
WITH_FILE = (Kind.IMAGE, Kind.VIDEO, Kind.AUDIO, Kind.VOICE, Kind.DOCUMENT, Kind.STICKER)
WITH_DETAIL = (Kind.LOCATION, Kind.CONTACT)


@dataclass(frozen=True)
class Content:
    """What is to be sent: a text, a file (`media`, already kept for the sender) with a caption, or a `detail`."""

    kind: Kind = Kind.TEXT
    body: str = field(default="", repr=False)
    media: Media | None = None
    filename: str | None = field(default=None, repr=False)
    detail: Mapping[str, Any] = field(default_factory=dict, repr=False)
    quoted_wpp_id: str | None = None


@dataclass(frozen=True)
class Origin:
    """What a message was made from, so that it can be told later."""

    template_id: UUID | None = None
    template_version: int | None = None
    schedule_id: UUID | None = None
    campaign_id: UUID | None = None


@dataclass(frozen=True)
class Wait:
    """Why something that is due does not leave, and since when."""

    reason: Reason
    since: datetime


@dataclass(frozen=True)
class Message:
    """A message as its owner sees it. `phone` is digits with country code; `seq` orders all messages as they came."""

    id: UUID
    seq: int
    direction: Direction
    state: State
    phone: str
    contact_name: str | None
    kind: str
    body: str
    media_sha256: bytes | None
    mimetype: str | None
    filename: str | None
    detail: Mapping[str, Any]
    failure: str | None
    waiting: Wait | None
    run_at: datetime
    created_at: datetime
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Claimed:
    """A message whose lane one worker holds until `leased_until`. `attempt` fences its outcome: a later claim makes
    this one's void.

    `sending` says that it was committed as such with the claim, because its `address` was known; else the number is
    asked about first. `exists` is False where WhatsApp is known not to have it.
    """

    id: UUID
    session_id: UUID
    user_id: UUID
    session_name: str
    server_url: str
    phone: str
    attempt: int
    leased_until: datetime
    sending: bool
    exists: bool | None
    address: str | None
    kind: str
    body: str = field(repr=False)
    media_sha256: bytes | None
    mimetype: str | None
    filename: str | None = field(repr=False)
    detail: Mapping[str, Any] = field(repr=False)
    quoted_wpp_id: str | None
    request_id: str | None


@dataclass(frozen=True)
class Outcome:
    """What became of one delivery. `retry` is true only where it is certain that nothing left.

    `waiting` holds up the whole lane until what it names is back; with `later` only this message is put off.
    `answered`: the server and the session did their part, so that nothing need wait for them.
    """

    state: Literal[State.QUEUED, State.ACCEPTED, State.FAILED, State.UNCERTAIN]
    failure: str | None = None
    wpp_id: str | None = None
    address: str | None = None
    ack: int = 0
    waiting: Reason | None = None
    later: timedelta | None = None
    answered: bool = False

    @property
    def retry(self) -> bool:
        return self.state is State.QUEUED


# --- what a person does ---------------------------------------------------------------------------------------------


def queue(
    actor: Actor,
    phone: str,
    content: str | Content,
    idempotency_key: str,
    contact_name: str | None = None,
    run_at: datetime | None = None,
    origin: Origin | None = None,
) -> Message:
    """Queue a text (or any `Content`) for the actor's own session, to leave at `run_at` (default now).

    `phone` is as people write one, or a group's `…@g.us`. The same `idempotency_key` of the same user queues once: a
    repetition returns the first message. Raises EmptyMessage, MessageTooLong, InvalidPhone, SessionNotConnected, and
    Conflict where the key came with another recipient or content before.
    """
    if actor.user_id is None:
        raise Forbidden("only a signed-in user sends")
    checked = _checked(content, idempotency_key)
    to = phone if is_group(phone) else normalise(phone)
    with transaction(actor, rings_later=True) as tx:
        session = tx.execute(
            select(session_rows.c.id, session_rows.c.status).where(session_rows.c.user_id == actor.user_id)
        ).one_or_none()
        if session is None or session.status != sessions.Status.CONNECTED:
            raise SessionNotConnected(f"session of {actor.user_id}")
        row = put(tx, actor.user_id, session.id, to, checked, idempotency_key, contact_name, run_at, origin)
    log.info("message_queued", message=str(row.id))
    ring(actor, {("lanes", ""), ("live", f"message:{actor.user_id}")})
    return _message(row)


def put(
    tx: Connection,
    user_id: UUID,
    session_id: UUID,
    phone: str,
    content: Content,
    idempotency_key: str,
    contact_name: str | None = None,
    run_at: datetime | None = None,
    origin: Origin | None = None,
) -> Record:
    """Queue inside the caller's transaction, whose role may be the worker's: for schedules and campaigns.

    `phone` is digits already, or a group's `…@g.us`. A key that was used before gives that message's row back. Raises
    EmptyMessage, MessageTooLong, NotFound for somebody else's file, and Conflict where the key came with another
    recipient or content before.
    """
    content = _checked(content, idempotency_key)
    if content.media is not None and content.media.user_id != user_id:
        raise NotFound("media of somebody else")
    row = _insert(tx, user_id, session_id, phone, content, idempotency_key, contact_name, run_at, origin or Origin())
    row = row or tx.execute(select(*_COLUMNS).where(_key(user_id, idempotency_key))).one()
    sha256 = content.media.sha256 if content.media else None
    if (row.phone, row.kind, row.body, row.media_sha256) != (phone, content.kind, content.body, sha256):
        raise Conflict(f"idempotency key {idempotency_key!r} was used for another message")
    return row


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


def cancel(actor: Actor, message_id: UUID) -> Message:
    """Take one of the actor's own messages back: it works until the moment of sending, and only then returns.

    Raises TooLateToCancel where it has begun to leave, or has ended; NotFound, also where it is somebody else's.
    """
    with transaction(actor) as tx:
        row = tx.execute(
            update(messages)
            .where(_own(actor, message_id), messages.c.state == State.QUEUED)
            .values(state=State.CANCELLED, ended_at=func.now(), updated_at=func.now())
            .returning(*_COLUMNS)
        ).one_or_none()
    if row is None:
        raise TooLateToCancel(f"message {message_id} is {get(actor, message_id).state}")
    return _message(row)


class Decision(StrEnum):
    """What a person makes of an uncertain message."""

    LEFT = "left"  # they saw it in the chat
    AGAIN = "again"  # it is not there: a new message with the same content
    DROPPED = "dropped"  # let it be


def uncertain(actor: Actor, limit: int = 50) -> list[Message]:
    """The actor's own messages of which nobody knows whether they left, oldest first."""
    doubts = select(*_COLUMNS).where(messages.c.user_id == actor.user_id, messages.c.state == State.UNCERTAIN)
    with transaction(actor) as tx:
        rows = tx.execute(doubts.order_by(messages.c.seq).limit(limit)).all()
    return [_message(row) for row in rows]


def decide(actor: Actor, message_id: UUID, decision: Decision) -> Message:
    """End the doubt about one of the actor's own messages; with AGAIN the message that was queued in its stead is
    returned. The same decision twice changes and queues nothing more.

    Raises Conflict where the doubt has ended otherwise meanwhile; with AGAIN as `queue` does; NotFound.
    """
    state = State.SENT if decision is Decision.LEFT else State.FAILED
    failures = {Decision.AGAIN: "sent_again", Decision.DROPPED: "dropped"}
    with transaction(actor) as tx:
        tx.execute(
            update(messages)
            .where(_own(actor, message_id), messages.c.state == State.UNCERTAIN)
            .values(
                state=state,
                failure=failures.get(decision),
                sent_at=messages.c.sending_at if state is State.SENT else None,
                ended_at=func.now() if state is State.FAILED else None,
                reconcile_at=None,
                decided_at=func.now(),
                decision=decision,
                updated_at=func.now(),
            )
        )
        row = tx.execute(select(*_COLUMNS, messages.c.decision, *_CONTENT).where(_own(actor, message_id))).one_or_none()
        if row is None:
            raise NotFound(f"message {message_id}")
        if row.decision != decision:
            raise Conflict(f"message {message_id} is {row.state}")
        if decision is Decision.AGAIN:
            row = _put_again(tx, actor, row)
    return _message(row)


def chat_of(actor: Actor, message_id: UUID, limit: int = 5) -> list[ChatMessage]:
    """What left for the recipient of one of the actor's own messages around its sending, read from WhatsApp now: newest
    last. Raises NotFound, WppError, ConfigurationError."""
    with transaction(actor) as tx:
        row = tx.execute(
            select(messages.c.phone, messages.c.address, messages.c.sending_at, *_SESSION_COLUMNS).where(
                _own(actor, message_id), session_rows.c.id == messages.c.session_id
            )
        ).one_or_none()
    if row is None:
        raise NotFound(f"message {message_id}")
    try:
        with sessions.asked_if_disconnected(actor, row.session_name):
            chat = client().get_messages(row.server_url, row.session_name, row.address or row.phone, count=CHAT_DEPTH)
    except WppChatNotFound:
        return []
    since = row.sending_at.timestamp() - CHAT_LOOK_BACK.total_seconds() if row.sending_at else 0.0
    return [one for one in chat if one.from_me and (one.timestamp or 0) >= since][-limit:]


@dataclass(frozen=True)
class Waiting:
    """How many uncertain messages of one user wait for them, and since when the oldest does."""

    user_id: UUID
    email: str | None
    count: int
    oldest: datetime


def waiting_decisions(actor: Actor) -> list[Waiting]:
    """For staff: whose uncertain messages wait for a person, most first. Never which. Raises Forbidden."""
    if not actor.is_staff:
        raise Forbidden("messages.waiting_decisions")
    with transaction(actor) as tx:
        rows = tx.execute(_WAITING).all()
    return [Waiting(row.user_id, row.email, row.waiting, row.oldest) for row in rows]


class Choice(StrEnum):
    """What a person makes of a message that waited too long."""

    SEND = "send"  # it leaves as soon as it can
    DISCARD = "discard"


@dataclass(frozen=True)
class Question:
    """How many messages of one campaign (or, without one, of none) wait for their owner's word, and since when the
    oldest was held up."""

    campaign_id: UUID | None
    campaign: str | None
    count: int
    oldest: datetime


def asked(actor: Actor, limit: int = 50) -> list[Message]:
    """The actor's own messages that waited too long and leave only when they say so, oldest first."""
    with transaction(actor) as tx:
        rows = tx.execute(select(*_COLUMNS).where(_asked(actor)).order_by(messages.c.seq).limit(limit)).all()
    return [_message(row) for row in rows]


def questions(actor: Actor) -> list[Question]:
    """What `asked` would list, summed up by campaign: one decision may be for many."""
    summed = (
        select(
            messages.c.campaign_id,
            campaign_rows.c.name,
            func.count().label("waiting"),
            func.min(messages.c.waiting_since).label("oldest"),
        )
        .outerjoin(campaign_rows, campaign_rows.c.id == messages.c.campaign_id)
        .where(_asked(actor))
        .group_by(messages.c.campaign_id, campaign_rows.c.name)
        .order_by(func.min(messages.c.seq))
    )
    with transaction(actor) as tx:
        rows = tx.execute(summed).all()
    return [Question(row.campaign_id, row.name, row.waiting, row.oldest) for row in rows]


def answer(
    actor: Actor,
    choice: Choice,
    *,
    message_id: UUID | None = None,
    campaign_id: UUID | None = None,
    loose: bool = False,
) -> int:
    """Decide about the actor's own messages that waited too long: one, those of a campaign, those of none (`loose`), or
    all.

    Those that go on leave in their order as soon as they can, and may wait as long once more. Returns how many there
    were: 0 the second time.
    """
    chosen = _asked(actor)
    if message_id is not None:
        chosen = and_(chosen, messages.c.id == message_id)
    if campaign_id is not None:
        chosen = and_(chosen, messages.c.campaign_id == campaign_id)
    if loose:
        chosen = and_(chosen, messages.c.campaign_id.is_(None))
    onward: dict[str, Any] = {"run_at": func.now(), "waiting_since": None, "waiting_reason": None, "asked_at": None}
    ended: dict[str, Any] = {"state": State.CANCELLED, "ended_at": func.now()}
    with transaction(actor) as tx:
        # The lane first, as everybody does.
        own = select(session_rows.c.id).where(session_rows.c.user_id == actor.user_id)
        due = func.least(lanes.c.due_at, func.now())
        tx.execute(update(lanes).where(lanes.c.session_id.in_(own)).values(due_at=due))
        values = onward if choice is Choice.SEND else ended
        done = tx.execute(update(messages).where(chosen).values(updated_at=func.now(), **values))
    ring(actor, {("lanes", ""), ("live", f"message:{actor.user_id}"), ("live", f"campaign:{actor.user_id}")})
    return int(done.rowcount)


def waits(actor: Actor) -> Wait | None:
    """What everything that is due in the actor's own session waits for; None while it leaves, or nothing is due."""
    due = select(lanes.c.waiting_reason, func.greatest(lanes.c.waiting_since, lanes.c.due_at).label("since")).where(
        session_rows.c.user_id == actor.user_id, session_rows.c.id == lanes.c.session_id, lanes.c.due_at <= func.now()
    )
    with transaction(actor) as tx:
        row = tx.execute(due).one_or_none()
    return Wait(Reason(row.waiting_reason), row.since) if row is not None and row.waiting_reason else None


# --- what the worker does ---------------------------------------------------------------------------------------------


def deliver(claimed: Claimed) -> Outcome | None:
    """Send, once `sending` is committed and the number known. None where nothing was to be done any more: it was taken
    back, or another worker has taken it over."""
    found = _address(claimed)
    if not isinstance(found, str):
        return found
    if not claimed.sending and not _mark_sending(claimed, found):
        return None
    try:
        with sessions.asked_if_disconnected(SYSTEM, claimed.session_name):
            sent = courier.send(claimed, found)
    except WppOutcomeUnknown:
        return Outcome(State.UNCERTAIN, "unknown", address=found)
    except NotFound:
        return Outcome(State.FAILED, "file_gone")
    except (InvalidInput, ConfigurationError, MediaUnavailable, WppError) as error:
        return _nothing_left(claimed, error)
    return Outcome(State.ACCEPTED, wpp_id=sent.id, address=found, ack=sent.ack, answered=True)


def settle_all(tx: Connection, ended: Sequence[tuple[Claimed, Outcome]]) -> set[UUID]:
    """Write down what became of deliveries, and join the acks that came before them.

    Returns the messages that were settled; the fence refuses an outcome whose message was claimed again since. A worker
    whose lease ended under it may still settle what was called uncertain meanwhile.
    """
    if not ended:
        return set()
    if keys := _ack_keys(ended):
        tx.execute(_LOCK_IDS, {"keys": keys})
    rows = tx.execute(_SETTLE, {"ended": _as_json(ended), "soon": RECONCILE_AFTER[0]}).all()
    by_id = {claimed.id: (claimed, outcome) for claimed, outcome in ended}
    for row in rows:
        claimed, outcome = by_id[row.id]
        if outcome.wpp_id and not row.adopted:
            _adopt(tx, claimed.session_id, claimed.id, outcome.wpp_id, outcome.ack)
    return {row.id for row in rows}


def doubt_since(moment: datetime) -> int:
    """After the tables were set back to `moment`: what waited then and was due since may have left meanwhile.

    Those messages become uncertain and are looked for in their chats, never sent; returns how many there were.
    """
    due = func.greatest(messages.c.run_at, moment)
    with transaction(SYSTEM) as tx:
        done = tx.execute(
            update(messages)
            .where(messages.c.state.in_((State.QUEUED, State.SENDING)), messages.c.run_at <= func.now())
            .values(
                state=State.UNCERTAIN,
                failure="unknown",
                sending_at=func.coalesce(messages.c.sending_at, due),
                reconcile_at=func.now() + RECONCILE_AFTER[0],
                reconciliations=0,
                uncertain_at=func.now(),
                updated_at=func.now(),
            )
        )
    return int(done.rowcount)


def of_wpp_id(session_id: UUID, wpp_id: str) -> ColumnElement[bool]:
    """The session's row of one WhatsApp message, under whichever of its names."""
    return and_(
        messages.c.session_id == session_id,
        # Said outright: the index is of those only.
        messages.c.wpp_id.is_not(None),
        func.app.message_key(messages.c.wpp_id) == message_key(wpp_id),
    )


def known_as(tx: Connection, session_id: UUID, wpp_id: str) -> str:
    """The name under which the session's row has a WhatsApp message; `wpp_id` itself where there is no row."""
    known: str | None = tx.execute(select(messages.c.wpp_id).where(of_wpp_id(session_id, wpp_id))).scalar_one_or_none()
    return known or wpp_id


def ask_owners() -> int:
    """Ask the owners of what waited too long; from then on it does not leave by itself. Returns how many messages."""
    patience = timedelta(hours=settings.get().send_ask_after_hours)
    with transaction(SYSTEM, rings_later=True) as tx:
        users = tx.execute(_ASK, {"patience": patience}).scalars().all()
    ring(SYSTEM, {("live", f"{topic}:{user_id}") for user_id in users for topic in ("message", "campaign")})
    if users:
        log.info("owners_asked", messages=len(users))
    return len(users)


def turn_of(session_id: UUID, wpp_id: str) -> ColumnElement[Any]:
    """Takes the turn of one WhatsApp message until the transaction ends.

    An ack and the outcome that names its message may come at once: one waits until it can see the other.
    """
    return func.pg_advisory_xact_lock(func.hashtextextended(f"{session_id}{message_key(wpp_id)}", 0))


def serialise(tx: Connection, session_id: UUID, wpp_id: str) -> None:
    """Take the turn of one WhatsApp message; what comes next sees what whoever had it has done."""
    tx.execute(select(turn_of(session_id, wpp_id)))


def acknowledge(tx: Connection, session_id: UUID, wpp_id: str, ack: int, at: datetime) -> None:
    """Take in one acknowledgement: never downwards; one whose message is not known yet is parked.

    A message to a group moves on with the first of its recipients: the server posts no count of its own.
    """
    serialise(tx, session_id, wpp_id)
    if _apply_ack(tx, session_id, wpp_id, ack, at):
        return
    known = tx.execute(select(literal(1)).where(of_wpp_id(session_id, wpp_id))).first()
    # 0 says nothing, and parked it would outrank a failure.
    if known is None and ack != 0:
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
            .returning(
                *_COLUMNS, *_CONTENT, messages.c.user_id, messages.c.address, messages.c.sending_at, *_SESSION_COLUMNS
            )
        ).all()
    for row in rows:
        _reconcile_one(row)
    return len(rows)


# --- one delivery -----------------------------------------------------------------------------------------------------


def _nothing_left(claimed: Claimed, error: ServiceError) -> Outcome:
    """The outcome of a failure of which it is certain that nothing left: only a refusal of this message ends it."""
    match error:
        case MediaUnavailable():
            return _held_up(Reason.FILES)
        case WppDisconnected():
            return _held_up(Reason.SESSION)
        case WppNoAnswer() if claimed.attempt % QUESTIONS_IN_A_ROW == 0:
            return Outcome(State.QUEUED, waiting=Reason.NUMBERS, later=NUMBERS_LATER)
        case WppNoAnswer():
            return _held_up(Reason.NO_ANSWER)
        case WppUnreachable():
            return _held_up(Reason.SERVER)
        case WppUnauthorized() | ConfigurationError():
            return _held_up(Reason.SETUP)
    return Outcome(State.FAILED, "refused", answered=isinstance(error, WppRefused))


def _held_up(reason: Reason) -> Outcome:
    return Outcome(State.QUEUED, waiting=reason)


def _address(claimed: Claimed) -> str | Outcome:
    """Where to send to: as known, or as WhatsApp answers now; an outcome where nothing is to be sent."""
    if claimed.address is not None:
        return claimed.address
    if claimed.exists is False:
        return Outcome(State.FAILED, "not_on_whatsapp")
    try:
        found = numbers.check(SYSTEM, claimed.session_id, [claimed.phone]).get(claimed.phone)
    except (InvalidInput, WppError, ConfigurationError, NotFound) as error:
        return _nothing_left(claimed, error)
    if found is None:
        log.info("number_check_postponed", message=str(claimed.id))
        return Outcome(State.QUEUED, waiting=Reason.NUMBERS, later=NUMBERS_LATER)
    if not found.exists:
        return Outcome(State.FAILED, "not_on_whatsapp", answered=True)
    return found.address or claimed.phone


def _mark_sending(claimed: Claimed, address: str) -> bool:
    with transaction(SYSTEM) as tx:
        done = tx.execute(
            update(messages)
            .where(
                messages.c.id == claimed.id,
                messages.c.attempts == claimed.attempt,
                messages.c.state == State.QUEUED,
                messages.c.asked_at.is_(None),
                lanes.c.session_id == messages.c.session_id,
                lanes.c.free_at > func.clock_timestamp(),
                lanes.c.stopped_at.is_(None),
            )
            .values(state=State.SENDING, sending_at=func.clock_timestamp(), address=address, updated_at=func.now())
        )
    return bool(done.rowcount)


def _adopt(tx: Connection, session_id: UUID, message_id: UUID, wpp_id: str, ack: int) -> bool:
    """Give a message the id that WhatsApp knows it by, with the highest ack seen for it; False where it is taken.

    WhatsApp may have told of the message before the server answered, as of one typed on the phone: that row was only
    its shadow.
    """
    serialise(tx, session_id, wpp_id)
    shadow = tx.execute(
        messages.delete()
        .where(
            of_wpp_id(session_id, wpp_id),
            messages.c.id != message_id,
            messages.c.direction == "out",
            messages.c.idempotency_key.is_(None),
        )
        .returning(messages.c.ack)
    ).scalar_one_or_none()
    taken = select(messages.c.id).where(of_wpp_id(session_id, wpp_id)).exists()
    done = tx.execute(
        update(messages).where(messages.c.id == message_id, ~taken).values(wpp_id=wpp_id, updated_at=func.now())
    )
    if not done.rowcount:
        return False
    if known := max(ack, shadow or 0):
        _apply_ack(tx, session_id, wpp_id, known, func.now())
    adopt_parked(tx, session_id, wpp_id)
    return True


def adopt_parked(tx: Connection, session_id: UUID, wpp_id: str) -> None:
    """Let a message that is known now have the ack that came before it."""
    parked = tx.execute(
        parked_acks.delete()
        .where(
            parked_acks.c.session_id == session_id, func.app.message_key(parked_acks.c.wpp_id) == message_key(wpp_id)
        )
        .returning(parked_acks.c.ack, parked_acks.c.at)
    ).all()
    for one in parked:
        _apply_ack(tx, session_id, wpp_id, one.ack, one.at)


def hurry_reconciliation(tx: Connection, session_id: UUID) -> None:
    """Read the chats of a session's uncertain messages at the next turn: WhatsApp has just told of one that left."""
    tx.execute(
        update(messages)
        .where(messages.c.session_id == session_id, messages.c.reconcile_at > func.now())
        .values(reconcile_at=func.now())
    )


def _apply_ack(tx: Connection, session_id: UUID, wpp_id: str, ack: int, at: Any) -> bool:
    mine = of_wpp_id(session_id, wpp_id)
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
        numbers.confirm(tx, session_id, wpp_id)
    return bool(done.rowcount)


def _next_reconciliation() -> Any:
    after = {number: func.now() + delay for number, delay in enumerate(RECONCILE_AFTER[1:])}
    return case(after, value=messages.c.reconciliations, else_=None)


def _reconcile_one(row: Record) -> None:
    try:
        with sessions.asked_if_disconnected(SYSTEM, row.session_name):
            chat = client().get_messages(row.server_url, row.session_name, row.address or row.phone, count=CHAT_DEPTH)
    except (WppError, ConfigurationError) as error:
        log.info("reconcile_unanswered", message=str(row.id), error=type(error).__name__)
        return
    with transaction(SYSTEM) as tx:
        found = any(
            _adopt_uncertain(tx, row, candidate) for candidate in chat if courier.may_be(candidate, row, row.sending_at)
        )
    log.info("reconciled", message=str(row.id), found=found)


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

# By the index of what was held up before, and by that of the lanes that wait.
_ASK = text(
    """
    with overdue as (
      select m.id from messages m
       where m.state = 'queued' and m.asked_at is null and m.waiting_since <= now() - :patience
      union
      select m.id from lanes l join messages m on m.session_id = l.session_id
       where l.waiting_since <= now() - :patience
         and m.state = 'queued' and m.asked_at is null and m.run_at <= now() - :patience
    ), held as (
      select m.id from messages m where m.id in (select id from overdue) for update skip locked
    )
    update messages m set asked_at = now(), updated_at = now(), waiting_since = coalesce(m.waiting_since,
        greatest(m.run_at, (select l.waiting_since from lanes l where l.session_id = m.session_id)))
      from held where held.id = m.id and m.state = 'queued' and m.asked_at is null
    returning m.user_id
    """
)
_WAITING = text(
    "select c.*, d.email from app.uncertain_counts() c left join app.directory d using (user_id)"
    " order by waiting desc, oldest"
)
# Inside the transaction, unless its opener rings for it later.
_RING_LANES = text("select pg_notify('lanes', '') where coalesce(current_setting('app.rings_later', true), '') <> 'on'")
# In one order, so that two processes never wait for each other; see `serialise`.
_LOCK_IDS = text(
    "select pg_advisory_xact_lock(hashtextextended(key, 0))"
    " from (select unnest(cast(:keys as text[])) as key order by 1) as keys"
)
# An id that another row has, or whose ack is here already, takes the long way (`_adopt`).
_SETTLE = text(
    """
    with ended as (
      select * from jsonb_to_recordset(cast(:ended as jsonb)) as e (id uuid, session_id uuid, attempt int, state text,
        failure text, wpp_id text, address text, ack int, waiting text, later double precision)
    )
    update messages m set
        state = e.state,
        failure = e.failure,
        address = coalesce(e.address, m.address),
        run_at = case when e.later is null then m.run_at else clock_timestamp() + make_interval(secs => e.later) end,
        waiting_reason = case when e.later is not null then e.waiting end,
        waiting_since = case when e.waiting is null then m.waiting_since else coalesce(m.waiting_since,
          (select greatest(m.run_at, l.waiting_since) from lanes l
            where l.session_id = m.session_id and l.waiting_since is not null), clock_timestamp()) end,
        accepted_at = case when e.state = 'accepted' then now() end,
        ended_at = case when e.state = 'failed' then now() end,
        reconcile_at = case when e.state = 'uncertain' then now() + :soon end,
        uncertain_at = case when e.state = 'uncertain' then now() else m.uncertain_at end,
        wpp_id = case when e.ack = 0
          and not exists (select from messages t where t.session_id = e.session_id and t.wpp_id is not null
            and app.message_key(t.wpp_id) = app.message_key(e.wpp_id))
          and not exists (select from parked_acks p where p.session_id = e.session_id
            and app.message_key(p.wpp_id) = app.message_key(e.wpp_id))
          then e.wpp_id else m.wpp_id end,
        updated_at = now()
      from ended e
     where m.id = e.id and m.attempts = e.attempt
       and (m.state in ('queued', 'sending') or (m.state = 'uncertain' and m.decided_at is null
         and e.state in ('accepted', 'failed')))
    returning m.id, m.wpp_id is not distinct from e.wpp_id as adopted
    """
)


def _ack_keys(ended: Sequence[tuple[Claimed, Outcome]]) -> list[str]:
    return [f"{claimed.session_id}{message_key(outcome.wpp_id)}" for claimed, outcome in ended if outcome.wpp_id]


def _as_json(ended: Sequence[tuple[Claimed, Outcome]]) -> str:
    rows = [
        {
            "id": str(claimed.id),
            "session_id": str(claimed.session_id),
            "attempt": claimed.attempt,
            "state": outcome.state,
            "failure": outcome.failure,
            "wpp_id": outcome.wpp_id,
            "address": outcome.address,
            "ack": outcome.ack,
            "waiting": outcome.waiting,
            "later": outcome.later.total_seconds() if outcome.later else None,
        }
        for claimed, outcome in ended
    ]
    return json.dumps(rows)


# A text, so that it also serves where rows are returned by what changes them.
_WAITING_REASON = literal_column(
    "case when messages.state <> 'queued' then null when messages.asked_at is not null then 'owner'"
    " when messages.run_at > now() then messages.waiting_reason else coalesce("
    "(select l.waiting_reason from lanes l where l.session_id = messages.session_id), messages.waiting_reason) end",
    Text,
)
_WAITING_SINCE = literal_column(
    "case when messages.state = 'queued' then coalesce(messages.waiting_since, greatest(messages.run_at,"
    " (select l.waiting_since from lanes l where l.session_id = messages.session_id))) end",
    DateTime(timezone=True),
)
_COLUMNS = (
    messages.c.id,
    messages.c.seq,
    messages.c.direction,
    messages.c.state,
    messages.c.phone,
    messages.c.contact_name,
    messages.c.kind,
    messages.c.body,
    messages.c.media_sha256,
    messages.c.mimetype,
    messages.c.filename,
    messages.c.detail,
    messages.c.failure,
    messages.c.run_at,
    messages.c.created_at,
    messages.c.sent_at,
    messages.c.delivered_at,
    messages.c.read_at,
    messages.c.ended_at,
    _WAITING_REASON.label("held_up_by"),
    _WAITING_SINCE.label("held_up_since"),
)
# What is sent again, beyond what its owner is shown.
_CONTENT = (
    messages.c.session_id,
    messages.c.quoted_wpp_id,
    messages.c.template_id,
    messages.c.template_version,
    messages.c.schedule_id,
    messages.c.campaign_id,
)
_SESSION_COLUMNS = (session_rows.c.session_id.label("session_name"), session_rows.c.server_url)


def _checked(content: str | Content, idempotency_key: str) -> Content:
    if isinstance(content, str):
        content = Content(body=content)
    body = content.body.strip()
    if content.kind is Kind.TEXT and not body:
        raise EmptyMessage("empty text")
    if (content.kind in WITH_FILE and content.media is None) or (content.kind in WITH_DETAIL and not content.detail):
        raise EmptyMessage(f"{content.kind} without what it is about")
    if len(body) > TEXT_LIMIT:
        raise MessageTooLong(f"{len(body)} characters", limit=TEXT_LIMIT)
    if "\x00" in body or not 0 < len(idempotency_key) <= KEY_LIMIT:
        raise InvalidInput("NUL in the text, or an idempotency key of no or over 200 characters")
    return replace(content, body=body)


def _insert(
    tx: Connection,
    user_id: UUID,
    session_id: UUID,
    phone: str,
    content: Content,
    key: str,
    contact_name: str | None,
    run_at: datetime | None,
    origin: Origin,
) -> Record | None:
    due = run_at if run_at is not None else func.now()
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    # The lane first, as the worker does: two who took lane and contact the other way round would end in a deadlock.
    tx.execute(update(lanes).where(lanes.c.session_id == session_id).values(due_at=func.least(lanes.c.due_at, due)))
    row = tx.execute(
        insert(messages)
        .values(
            session_id=session_id,
            user_id=user_id,
            direction="out",
            state=State.QUEUED,
            phone=phone,
            contact_name=contact_name,
            kind=content.kind,
            body=content.body,
            media_sha256=content.media.sha256 if content.media else None,
            mimetype=content.media.mimetype if content.media else None,
            filename=content.filename,
            detail=dict(content.detail),
            quoted_wpp_id=content.quoted_wpp_id,
            template_id=origin.template_id,
            template_version=origin.template_version,
            schedule_id=origin.schedule_id,
            campaign_id=origin.campaign_id,
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
        tx.execute(_RING_LANES)
    return row


def _put_again(tx: Connection, actor: Actor, old: Record) -> Record:
    """Queue what an uncertain message carried once more; its key is made of the old one's id, so that it is once."""
    assert actor.user_id is not None
    status = tx.execute(select(session_rows.c.status).where(session_rows.c.id == old.session_id)).scalar_one_or_none()
    if status != sessions.Status.CONNECTED:
        raise SessionNotConnected(f"session of {actor.user_id}")
    held = select(media_rows).where(media_rows.c.user_id == actor.user_id, media_rows.c.sha256 == old.media_sha256)
    file = tx.execute(held).one_or_none() if old.media_sha256 else None
    content = Content(
        kind=Kind(old.kind),
        body=old.body,
        media=Media(file.user_id, file.sha256, file.mimetype, file.size) if file else None,
        filename=old.filename,
        detail=old.detail,
        quoted_wpp_id=old.quoted_wpp_id,
    )
    origin = Origin(old.template_id, old.template_version, old.schedule_id, old.campaign_id)
    key = f"again {old.id}"
    return put(tx, actor.user_id, old.session_id, old.phone, content, key, old.contact_name, origin=origin)


def _asked(actor: Actor) -> ColumnElement[bool]:
    return and_(messages.c.user_id == actor.user_id, messages.c.state == State.QUEUED, messages.c.asked_at.is_not(None))


def _own(actor: Actor, message_id: UUID) -> Any:
    return and_(messages.c.id == message_id, messages.c.user_id == actor.user_id, messages.c.direction == "out")


def _key(user_id: UUID, key: str) -> Any:
    return and_(messages.c.user_id == user_id, messages.c.idempotency_key == key)


def wait_of(row: Record) -> Wait | None:
    """What the message of a row waits for that was read with `WAITING_COLUMNS`."""
    return Wait(Reason(row.held_up_by), row.held_up_since) if row.held_up_by else None


def _message(row: Record) -> Message:
    return Message(
        id=row.id,
        seq=row.seq,
        direction=row.direction,
        state=State(row.state),
        phone=row.phone,
        contact_name=row.contact_name,
        kind=row.kind,
        body=row.body,
        media_sha256=row.media_sha256,
        mimetype=row.mimetype,
        filename=row.filename,
        detail=row.detail,
        failure=row.failure,
        waiting=wait_of(row),
        run_at=row.run_at,
        created_at=row.created_at,
        sent_at=row.sent_at,
        delivered_at=row.delivered_at,
        read_at=row.read_at,
        ended_at=row.ended_at,
    )


# For those who store and read messages together with what else they know of them.
COLUMNS = _COLUMNS
WAITING_COLUMNS = (_WAITING_REASON.label("held_up_by"), _WAITING_SINCE.label("held_up_since"))
from_row = _message
