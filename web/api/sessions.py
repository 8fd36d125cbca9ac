"""A user's session by the API: connect, disconnect, its state, and its changes as Server-Sent Events."""

import asyncio
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from services.accounts import sign_in
from services.db.actor import Actor
from services.errors import (
    N_,
    DatabaseUnavailable,
    ServiceError,
)
from services.fleet import commands
from services.fleet import session as fleet_session
from services.fleet.session import Session, Status
from services.platform.pubsub import Hub
from web.api.operation import Call
from web.api.responses import HEADERS, answer
from web.api.schemas import (
    SessionShape,
)
from web.api.waiting import get_wait_seconds, wait_until

SESSION = "/functions/v1/sessao-de-whatsapp"
# Proxies drop a connection that says nothing for a minute.
PING_SECONDS = 20.0
# A browser has a handful of tabs; more is a caller that forgets to close what it opened.
STREAMS_PER_USER = 20


class StreamsExhausted(ServiceError):
    code = "conexoes_demais"
    http_status = 429
    permanent = False
    message = N_("Há conexões ao vivo demais abertas para esse usuário.")
    hint = N_("Feche as que não usa e tente de novo.")


async def connect_session(call: Call) -> Response:
    """Start pairing and wait for something to show: a QR, a code, `conectado`, or the reason why not."""
    await run_in_threadpool(commands.connect, call.actor, None, call.body.phone)
    return await _answer_with_code(call)


async def reconnect_session(call: Call) -> Response:
    await run_in_threadpool(commands.reconnect, call.actor)
    return await _answer_with_code(call)


async def _answer_with_code(call: Call) -> Response:
    session = await wait_until(
        call.hub,
        f"session:{call.actor.user_id}",
        lambda: fleet_session.get(call.actor),
        _has_something_to_show,
        get_wait_seconds(call),
    )
    return answer(SessionShape.of(session))


async def get_session(call: Call) -> Response:
    return answer(SessionShape.of(await run_in_threadpool(fleet_session.get, call.actor)))


async def disconnect_session(call: Call) -> Response:
    return answer(SessionShape.of(await run_in_threadpool(commands.disconnect, call.actor)))


async def stream_session(call: Call) -> Response:
    """The session each time it changes, as Server-Sent Events, until the caller goes or is shut out."""
    if call.hub.listeners(f"session:{call.actor.user_id}") >= STREAMS_PER_USER:
        raise StreamsExhausted
    current = SessionShape.of(await run_in_threadpool(fleet_session.get, call.actor))
    return StreamingResponse(
        _stream_events(call.hub, call.actor, current), media_type="text/event-stream", headers=HEADERS
    )


async def _stream_events(hub: Hub, actor: Actor, shown: SessionShape) -> AsyncIterator[bytes]:
    yield _format_event(shown)
    with hub.subscription(f"session:{actor.user_id}") as subscriber:
        while True:
            changed = True
            try:
                await asyncio.wait_for(subscriber.changed.wait(), PING_SECONDS)
            except TimeoutError:
                changed = False
            subscriber.changed.clear()
            try:
                current = await run_in_threadpool(_read_if_admitted, actor)
            except DatabaseUnavailable:
                continue
            if current is None:
                return
            if current != shown:
                shown = current
                yield _format_event(shown)
            elif not changed:
                yield b": ainda aqui\n\n"


def _read_if_admitted(actor: Actor) -> SessionShape | None:
    """The session, or None where its user is no longer let in."""
    if actor.user_id is None or sign_in.get_user_account(actor.user_id) is None:
        return None
    return SessionShape.of(fleet_session.get(actor))


def _format_event(shape: SessionShape) -> bytes:
    return b"event: sessao\ndata: " + shape.model_dump_json().encode() + b"\n\n"


def _has_something_to_show(session: Session | None) -> bool:
    return session is None or session.status is not Status.PAIRING or bool(session.qr or session.phone_code)


# What calling the WPPConnect server may end in.
SERVER_ERROR_STATUSES = (409, 502, 504)
