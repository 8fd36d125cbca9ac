"""The API for other programs: the overview's functions, as their user, under the same rules as the console's pages."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from services import identity, messages, sessions, settings
from services.db.actor import Actor
from services.errors import (
    N_,
    DatabaseUnavailable,
    NumberNotOnWhatsApp,
    ServiceError,
    SessionNotConnected,
)
from services.keys import Scope
from services.live import Hub
from services.messages import FAILURES, Message, State
from services.sessions import Session, Status
from web import (
    campaigns,
    conversations,
    diagnostics,
    dossier,
    forwarding,
    gaps,
    media,
    reports,
    rules,
    schedules,
    silence,
    uncertain,
)
from web import templates as modelos
from web.answers import HEADERS, answer, problem
from web.content import content_of
from web.conversations import MESSAGES
from web.operations import IDEMPOTENCY, Call, Operation
from web.shapes import (
    ConnectBody,
    MessagePage,
    MessageQuery,
    MessageShape,
    SendBody,
    SessionShape,
    cursor_of,
    place_of,
    seq,
)

SESSION = "/functions/v1/sessao-de-whatsapp"
SEND = "/functions/v1/enviar-mensagem-whatsapp"

# A lost notification must not cost a caller the whole wait.
REREAD_SECONDS = 1.0
# Proxies drop a connection that says nothing for a minute.
PING_SECONDS = 20.0
# A browser has a handful of tabs; more is a caller that forgets to close what it opened.
STREAMS_PER_USER = 20
# The stages of an outcome that a sender waits for; `accepted` only says that the server took it.
LEFT = (State.SENT, State.DELIVERED, State.READ)
ENDED = (*LEFT, State.FAILED, State.UNCERTAIN)

Seen = TypeVar("Seen")


class MessageFailed(ServiceError):
    """A message that was certainly not delivered, told to the one who waited for it."""

    code = "mensagem_falhou"
    http_status = 409
    message = N_("A mensagem não foi enviada: {reason}")
    hint = N_("Confira o número e a conexão antes de repetir.")


class StreamsExhausted(ServiceError):
    code = "conexoes_demais"
    http_status = 429
    permanent = False
    message = N_("Há conexões ao vivo demais abertas para esse usuário.")
    hint = N_("Feche as que não usa e tente de novo.")


# --- the session ------------------------------------------------------------------------------------------------------


async def connect(call: Call) -> Response:
    """Start pairing and wait for something to show: a QR, a code, `conectado`, or the reason why not."""
    await run_in_threadpool(sessions.connect, call.actor, None, call.body.phone)
    return await _when_shown(call)


async def reconnect(call: Call) -> Response:
    await run_in_threadpool(sessions.reconnect, call.actor)
    return await _when_shown(call)


async def _when_shown(call: Call) -> Response:
    session = await _until(
        call.hub, f"session:{call.actor.user_id}", lambda: sessions.get(call.actor), _shows_something, _wait(call)
    )
    return answer(SessionShape.of(session))


async def state(call: Call) -> Response:
    return answer(SessionShape.of(await run_in_threadpool(sessions.get, call.actor)))


async def disconnect(call: Call) -> Response:
    return answer(SessionShape.of(await run_in_threadpool(sessions.disconnect, call.actor)))


async def live(call: Call) -> Response:
    """The session each time it changes, as Server-Sent Events, until the caller goes or is shut out."""
    if call.hub.listeners(f"session:{call.actor.user_id}") >= STREAMS_PER_USER:
        raise StreamsExhausted
    current = SessionShape.of(await run_in_threadpool(sessions.get, call.actor))
    return StreamingResponse(_events(call.hub, call.actor, current), media_type="text/event-stream", headers=HEADERS)


async def _events(hub: Hub, actor: Actor, shown: SessionShape) -> AsyncIterator[bytes]:
    yield _event(shown)
    with hub.subscription(f"session:{actor.user_id}") as subscriber:
        while True:
            changed = True
            try:
                await asyncio.wait_for(subscriber.changed.wait(), PING_SECONDS)
            except TimeoutError:
                changed = False
            subscriber.changed.clear()
            try:
                current = await run_in_threadpool(_still, actor)
            except DatabaseUnavailable:
                continue
            if current is None:
                return
            if current != shown:
                shown = current
                yield _event(shown)
            elif not changed:
                yield b": ainda aqui\n\n"


def _still(actor: Actor) -> SessionShape | None:
    """The session, or None where its user is no longer let in."""
    if actor.user_id is None or identity.account_for(actor.user_id) is None:
        return None
    return SessionShape.of(sessions.get(actor))


def _event(shape: SessionShape) -> bytes:
    return b"event: sessao\ndata: " + shape.model_dump_json().encode() + b"\n\n"


def _shows_something(session: Session | None) -> bool:
    return session is None or session.status is not Status.PAIRING or bool(session.qr or session.phone_code)


# --- messages ---------------------------------------------------------------------------------------------------------


async def send(call: Call) -> Response:
    """Queue a text durably, then wait a little for what becomes of it."""
    key = call.request.headers.get("idempotency-key") or uuid4().hex
    queued = await run_in_threadpool(_queued, call.actor, call.body, key)
    later = queued.run_at > datetime.now(UTC)
    found = await _until(
        call.hub,
        f"message:{call.actor.user_id}",
        lambda: messages.get(call.actor, queued.id),
        lambda one: one.state in ENDED,
        0.0 if later else _wait(call),
        first=queued,
    )
    return _outcome(found)


def _queued(actor: Actor, wanted: SendBody, key: str) -> Message:
    values = {"nome": wanted.contact_name or "", "telefone": wanted.phone, **wanted.values}
    content, origin = content_of(actor, wanted, values)
    return messages.queue(actor, wanted.phone, content, key, wanted.contact_name, wanted.run_at, origin)


def _outcome(message: Message) -> Response:
    if message.state is State.FAILED:
        return problem(_failure(message), id=str(message.id), state=str(message.state))
    where = {"Location": f"{SEND}/{message.id}"}
    return answer(MessageShape.of(message), 200 if message.state in LEFT else 202, where)


def _failure(message: Message) -> ServiceError:
    if message.failure == "not_on_whatsapp":
        return NumberNotOnWhatsApp()
    if message.failure == "disconnected":
        return SessionNotConnected()
    sentence, _hint = FAILURES.get(message.failure or "", FAILURES["unreachable"])
    return MessageFailed(message.failure or "", reason=sentence)


async def one(call: Call) -> Response:
    return answer(MessageShape.of(await run_in_threadpool(messages.get, call.actor, call.id)))


async def cancel(call: Call) -> Response:
    """Take it back; who comes too late is told so."""
    return answer(MessageShape.of(await run_in_threadpool(messages.cancel, call.actor, call.id)))


async def several(call: Call) -> Response:
    """One page, newest first. One row more than asked for tells whether there is a next page."""
    query: MessageQuery = call.query
    (before,) = place_of(query.cursor, seq) if query.cursor else (None,)
    found = await run_in_threadpool(
        lambda: messages.recent(call.actor, query.limit + 1, direction=query.direction, before=before)
    )
    shown = found[: query.limit]
    following = cursor_of(shown[-1].seq) if len(found) > query.limit else None
    return answer(MessagePage(items=[MessageShape.of(each) for each in shown], next=following))


# --- waiting ----------------------------------------------------------------------------------------------------------


def _wait(call: Call) -> float:
    """How long this call waits, in seconds: RFC 7240's `Prefer: wait=…` or `respond-async`, else the setting."""
    longest = settings.get().api_wait_seconds
    for preference in call.request.headers.get("prefer", "").lower().split(","):
        name, _, value = preference.strip().partition("=")
        if name == "respond-async":
            return 0.0
        if name == "wait" and value.isdigit():
            return min(float(value[:6]), longest)
    return longest


async def _until(
    hub: Hub,
    topic: str,
    read: Callable[[], Seen],
    enough: Callable[[Seen], bool],
    seconds: float,
    first: Seen | None = None,
) -> Seen:
    """What `read` finds once it is `enough`, or after `seconds`. `first` is what is known already."""
    deadline = asyncio.get_running_loop().time() + seconds
    with hub.subscription(topic) as subscriber:
        subscriber.changed.clear()
        found = first if first is not None and seconds <= 0 else await run_in_threadpool(read)
        while not enough(found) and (left := deadline - asyncio.get_running_loop().time()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(subscriber.changed.wait(), min(left, REREAD_SECONDS))
            subscriber.changed.clear()
            found = await run_in_threadpool(read)
    return found


# --- what there is ----------------------------------------------------------------------------------------------------

PREFER = {"Prefer": "`wait=<seconds>` or `respond-async` (RFC 7240): how long to wait for the outcome."}
# What calling the WPPConnect server may end in.
SERVER_ERRORS = (409, 502, 504)

OPERATIONS = (
    Operation(
        "POST", SESSION, "connect", "Connect: answers the status, and the QR or code to show", Scope.SESSION, connect,
        {200: SessionShape}, SERVER_ERRORS, ConnectBody, body_required=False, headers=PREFER,
    ),
    Operation("GET", SESSION, "session", "The session's state", Scope.READ, state, {200: SessionShape}),
    Operation(
        "DELETE", SESSION, "disconnect", "Disconnect and unpair the phone", Scope.SESSION, disconnect,
        {200: SessionShape}, (404, *SERVER_ERRORS),
    ),
    Operation(
        "POST", f"{SESSION}/reconectar", "reconnect", "Close and start again, without unpairing", Scope.SESSION,
        reconnect, {200: SessionShape}, SERVER_ERRORS, headers=PREFER,
    ),
    Operation(
        "GET", f"{SESSION}/ao-vivo", "live", "The state each time it changes: Server-Sent Events named `sessao`",
        Scope.READ, live, {200: "text/event-stream"},
    ),
    Operation(
        "POST", SEND, "send", "Send a text, a file or a template, now or later; waits a little for the outcome",
        Scope.SEND, send, {200: MessageShape, 202: MessageShape}, (404, 409), SendBody,
        headers={**IDEMPOTENCY, **PREFER},
    ),
    Operation("GET", f"{SEND}/{{id}}", "message", "One message", Scope.READ, one, {200: MessageShape}, (404,)),
    Operation(
        "DELETE", f"{SEND}/{{id}}", "cancel", "Take a message back, up to the moment of sending", Scope.SEND, cancel,
        {200: MessageShape}, (404, 409),
    ),
    Operation(
        "GET", MESSAGES, "messages", "Messages in and out, newest first, by pages", Scope.READ, several,
        {200: MessagePage}, query=MessageQuery,
    ),
    *uncertain.OPERATIONS,
    *conversations.OPERATIONS,
    *media.OPERATIONS,
    *modelos.OPERATIONS,
    *schedules.OPERATIONS,
    *campaigns.OPERATIONS,
    *silence.OPERATIONS,
    *rules.OPERATIONS,
    *forwarding.OPERATIONS,
    *gaps.OPERATIONS,
    *reports.OPERATIONS,
    *dossier.OPERATIONS,
    *diagnostics.OPERATIONS,
)  # fmt: skip
