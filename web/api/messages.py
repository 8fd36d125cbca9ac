"""Messages by the API: send one, take it back, read one or a page of them."""

from datetime import UTC, datetime
from uuid import uuid4

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from services.db.actor import Actor
from services.errors import N_, Conflict, ServiceError
from services.messaging import outbox
from services.messaging.errors import SessionNotConnected
from services.messaging.state import FAILURES, Message, State
from services.wppconnect.phone import format_phone, read_address
from web.api.content import content_from_body
from web.api.operation import Call
from web.api.responses import answer, problem_response
from web.api.schemas import (
    MessagePage,
    MessageQuery,
    MessageShape,
    SendBody,
    decode_cursor,
    encode_cursor,
    read_seq,
)
from web.api.waiting import get_wait_seconds, wait_until

SEND = "/functions/v1/enviar-mensagem-whatsapp"
# The stages of an outcome that a sender waits for; `accepted` only says that the server took it.
SENT_STATES = (State.SENT, State.DELIVERED, State.READ)
OUTCOME_STATES = (*SENT_STATES, State.FAILED, State.UNCERTAIN)


class NumberNotOnWhatsApp(Conflict):
    code = "numero_sem_whatsapp"
    message = N_("Esse número não está no WhatsApp; nada foi enviado.")
    hint = N_("Confira o número com a pessoa.")


class MessageFailed(ServiceError):
    """A message that was certainly not delivered, told to the one who waited for it."""

    code = "mensagem_falhou"
    http_status = 409
    message = N_("A mensagem não foi enviada: {reason}")
    hint = N_("Confira o número e a conexão antes de repetir.")


async def send_message(call: Call) -> Response:
    """Queue a text durably, then wait a little for what becomes of it."""
    key = call.request.headers.get("idempotency-key") or uuid4().hex
    queued = await run_in_threadpool(_queue, call.actor, call.body, key)
    later = queued.run_at > datetime.now(UTC)
    found = await wait_until(
        call.hub,
        f"message:{call.actor.user_id}",
        lambda: outbox.get_message(call.actor, queued.id),
        lambda one: one.state in OUTCOME_STATES,
        0.0 if later else get_wait_seconds(call),
        first=queued,
    )
    return _outcome_response(found)


def _queue(actor: Actor, wanted: SendBody, key: str) -> Message:
    to = read_address(wanted.phone)
    # As it was given, where that is a number; an address is nothing to show to a person.
    phone = wanted.phone if "@" not in wanted.phone else format_phone(to) if "@" not in to else ""
    values = {"nome": wanted.contact_name or "", "telefone": phone, **wanted.values}
    content, origin = content_from_body(actor, wanted, values)
    return outbox.queue(actor, wanted.phone, content, key, wanted.contact_name, wanted.run_at, origin)


def _outcome_response(message: Message) -> Response:
    if message.state is State.FAILED:
        return problem_response(_error_of_failure(message), id=str(message.id), state=str(message.state))
    where = {"Location": f"{SEND}/{message.id}"}
    return answer(MessageShape.of(message), 200 if message.state in SENT_STATES else 202, where)


def _error_of_failure(message: Message) -> ServiceError:
    if message.failure == "not_on_whatsapp":
        return NumberNotOnWhatsApp()
    if message.failure == "disconnected":
        return SessionNotConnected()
    sentence, _hint = FAILURES.get(message.failure or "", FAILURES["unreachable"])
    return MessageFailed(message.failure or "", reason=sentence)


async def get_message(call: Call) -> Response:
    return answer(MessageShape.of(await run_in_threadpool(outbox.get_message, call.actor, call.id)))


async def cancel_message(call: Call) -> Response:
    """Take it back; who comes too late is told so."""
    return answer(MessageShape.of(await run_in_threadpool(outbox.cancel, call.actor, call.id)))


async def list_messages(call: Call) -> Response:
    """One page, newest first. One row more than asked for tells whether there is a next page."""
    query: MessageQuery = call.query
    (before,) = decode_cursor(query.cursor, read_seq) if query.cursor else (None,)
    found = await run_in_threadpool(
        lambda: outbox.list_recent(call.actor, query.limit + 1, direction=query.direction, before=before)
    )
    shown = found[: query.limit]
    following = encode_cursor(shown[-1].seq) if len(found) > query.limit else None
    return answer(MessagePage(items=[MessageShape.of(each) for each in shown], next=following))
