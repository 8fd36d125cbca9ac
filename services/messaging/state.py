"""The states of a message, what it waits for, and how a row becomes a `Message`.

    queued ─claimed, number checked─▶ sending ──201 with an id──▶ accepted ──ack 1──▶ sent ──2──▶ delivered ──3──▶ read
       │                                 │                            │
       ├─not on WhatsApp─▶ failed        ├─refused─▶ failed           └─ack < 0─▶ failed
       ├─taken back─▶ cancelled          ├─time-out, 5xx, crash─▶ uncertain ──found in the chat─▶ accepted …
       ◀──────server or session away─────┘

What certainly did not leave stays queued and says what it waits for (`WaitReason`); how long that takes never fails it.
What waited for longer than SEND_ASK_AFTER_HOURS leaves only when its owner says so (`messaging.overdue`). Nothing that
may have left is ever sent again: `uncertain` is settled by an acknowledgement or by reading the chat, and what stays
uncertain waits for a person.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    DateTime,
    Text,
    and_,
    literal_column,
)

from services.db.actor import Actor
from services.db.rows import read_row
from services.db.tables.base import Record
from services.db.tables.fleet import sessions as session_rows
from services.db.tables.messaging import messages
from services.errors import (
    N_,
)

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


class WaitReason(StrEnum):
    """What a message waits for that is due and certainly did not leave."""

    SERVER = "server"  # nobody answers at its server's address
    SESSION = "session"  # its session is not up
    NO_ANSWER = "no_answer"  # the server is there, and what must be asked before a send has no answer
    SETUP = "setup"  # the server is configured no longer, or does not take our secret
    FILES = "files"  # the media store does not give its file
    NUMBERS = "numbers"  # its number cannot be asked about yet
    OWNER = "owner"  # it waited too long: it leaves when its owner says so


# What is waited for → the sentence, before `há 4 min`.
WAIT_SENTENCES: dict[WaitReason, str] = {
    WaitReason.SERVER: N_("Esperando o servidor do WhatsApp voltar"),
    WaitReason.SESSION: N_("Esperando seu WhatsApp reconectar"),
    WaitReason.NO_ANSWER: N_("Esperando o WhatsApp responder"),
    WaitReason.SETUP: N_("Esperando a equipe acertar o acesso ao servidor do WhatsApp"),
    WaitReason.FILES: N_("Esperando o arquivo poder ser lido"),
    WaitReason.NUMBERS: N_("Esperando poder conferir o número no WhatsApp"),
    WaitReason.OWNER: N_("Esperando a sua decisão em “Incertos”"),
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
# Failures by which WhatsApp, or the server in its name, said no to writing to this person at all; also named in
# `app.record_cold_outcome`.
REFUSALS = ("rejected", "restricted")
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
    "restricted": (
        N_("O WhatsApp recusou: esta conta não pode iniciar conversas novas por agora."),
        N_("Espere algumas horas antes de escrever a quem nunca escreveu a você; com os outros a conversa segue."),
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
    "opted_out": (
        N_("A pessoa pediu para não receber mais; a mensagem não saiu."),
        N_("Escreva para ela só se ela escrever de novo."),
    ),
    "unknown": (
        N_("Não sabemos se a mensagem saiu; ela não será reenviada sozinha."),
        N_("Estamos conferindo na conversa. Veja no celular antes de enviar de novo."),
    ),
}


@dataclass(frozen=True)
class Wait:
    """Why something that is due does not leave, and since when."""

    reason: WaitReason
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


# A text, so that it also serves where rows are returned by what changes them.
WAIT_REASON_COLUMN = literal_column(
    "case when messages.state <> 'queued' then null when messages.asked_at is not null then 'owner'"
    " when messages.run_at > now() then messages.waiting_reason else coalesce("
    "(select l.waiting_reason from lanes l where l.session_id = messages.session_id), messages.waiting_reason) end",
    Text,
)
WAIT_SINCE_COLUMN = literal_column(
    "case when messages.state = 'queued' then coalesce(messages.waiting_since, greatest(messages.run_at,"
    " (select l.waiting_since from lanes l where l.session_id = messages.session_id))) end",
    DateTime(timezone=True),
)
MESSAGE_COLUMNS = (
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
    WAIT_REASON_COLUMN.label("held_up_by"),
    WAIT_SINCE_COLUMN.label("held_up_since"),
)
# What is sent again, beyond what its owner is shown.
CONTENT_COLUMNS = (
    messages.c.session_id,
    messages.c.quoted_wpp_id,
    messages.c.template_id,
    messages.c.template_version,
    messages.c.schedule_id,
    messages.c.campaign_id,
)
SESSION_COLUMNS = (session_rows.c.session_id.label("session_name"), session_rows.c.server_url)


def is_own_message(actor: Actor, message_id: UUID) -> Any:
    """The condition for one message that the actor sends."""
    return and_(messages.c.id == message_id, messages.c.user_id == actor.user_id, messages.c.direction == "out")


def build_wait(row: Record) -> Wait | None:
    """What the message of a row waits for that was read with `WAIT_COLUMNS`."""
    return read_row(Wait, row, reason=row.held_up_by, since=row.held_up_since) if row.held_up_by else None


def build_message(row: Record) -> Message:
    """The message of a row that was read with `MESSAGE_COLUMNS`."""
    return read_row(Message, row, waiting=build_wait(row))


WAIT_COLUMNS = (WAIT_REASON_COLUMN.label("held_up_by"), WAIT_SINCE_COLUMN.label("held_up_since"))
