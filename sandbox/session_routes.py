"""The calls about sessions: start, state, QR, close, logout, and those that need the SECRET_KEY."""

import asyncio
import base64
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox import pairing
from sandbox.calls import Call, authenticated, connected, has_secret_key, make_token, world_of
from sandbox.express import HEADERS, DroppedConnection, reply
from sandbox.state import VERSION

TOKEN_COST = 10
CLOSED_MESSAGE = {"status": True, "message": "Session successfully closed"}
WRONG_TOKEN = {"response": "error", "message": "The token is incorrect"}
NOT_STARTED = "Session not started. Please, use the /start-session route, for initialization your session"


async def generate_token(request: Request) -> Response:
    """Cost 10, as the real server; a client that computes the token itself may choose a cheaper one."""
    if not has_secret_key(request):
        return reply(request, 400, {"response": False, "message": "The SECRET_KEY is incorrect"})
    session = request.path_params["session"]
    token = await asyncio.to_thread(make_token, session, world_of(request).config.secret, TOKEN_COST)
    data = {"status": "success", "session": session, "token": token, "full": f"{session}:{token}"}
    return reply(request, 201, data)


async def show_all_sessions(request: Request) -> Response:
    """Every session with stored data, alive or not."""
    if not has_secret_key(request):
        return reply(request, 400, {"response": False, "message": "The token is incorrect"})
    names = [session.name for session in world_of(request).sessions.values() if session.stored]
    return reply(request, 200, {"response": names})


async def start_all(request: Request) -> Response:
    """Stored sessions come back with the webhook of their last start-session.

    Measured: with a wrong secret too, although the answer says no; `clear-session-data` is the same.
    """
    pairing.start_all_sessions(world_of(request))
    if not has_secret_key(request):
        return reply(request, 400, WRONG_TOKEN)
    return reply(request, 201, {"status": "success", "message": "Starting all sessions"})


async def clear_session_data(request: Request) -> Response:
    """Deletes a stopped session's data, but not its token file; a running one goes on running."""
    world = world_of(request)
    session = world.session(request.path_params["session"])
    fault = world.faults.strike("clear_hangs", session.name)
    if session.status in (None, "CLOSED") and (fault is None or fault["cleared"]):
        session.phone = None
    if not has_secret_key(request):
        return reply(request, 400, WRONG_TOKEN)
    if fault is not None:
        return DroppedConnection(world.config.seconds(world.config.hang))
    return reply(request, 200, {"success": True})


def _session_state(call: Call) -> dict[str, Any]:
    session = call.session
    if session.status in (None, "CLOSED") and not call.body.get("waitQrCode"):
        return {"status": "CLOSED", "qrcode": None}
    state: dict[str, Any] = {"status": session.status, "qrcode": None}
    if session.urlcode:
        picture = base64.b64encode(session.qr_png).decode()
        state |= {"qrcode": f"data:image/png;base64,{picture}", "urlcode": session.urlcode}
    old = call.world.faults.options("old_version")
    return {**state, "version": old["version"] if old else VERSION}


async def status_session(call: Call) -> Response:
    """What the server believes. After CONNECTED it may still carry an old QR, and a zombie still says CONNECTED."""
    return call.reply(200, _session_state(call))


async def start_session(call: Call) -> Response:
    """Answers the state BEFORE the start; a fresh session with waitQrCode waits for its first sign."""
    waits = bool(call.body.get("waitQrCode")) and not call.session.started
    before = call.reply(200, _session_state(call))
    pairing.start_session(call.world, call.session, call.body)
    if not waits or call.session.first_sign is None:
        return before
    try:
        async with asyncio.timeout(call.world.config.seconds(call.world.config.hang)):
            await asyncio.shield(call.session.first_sign)
    except TimeoutError:
        return DroppedConnection()
    return call.reply(200, _wait_for_first_state(call))


def _wait_for_first_state(call: Call) -> dict[str, Any]:
    session = call.session
    if session.phone_code:
        phone = session.config.get("phone")
        return {"status": "phoneCode", "phone": phone, "phoneCode": session.phone_code, "session": session.name}
    picture = base64.b64encode(session.qr_png).decode()
    return {"status": "qrcode", "qrcode": picture, "urlcode": session.urlcode, "session": session.name}


async def qrcode_session(call: Call) -> Response:
    """A 500 px PNG while there is a QR, else JSON, both with status 200."""
    session = call.session
    if session.urlcode:
        return Response(await asyncio.to_thread(pairing.draw_qr, session.urlcode), 200, HEADERS, "image/png")
    if not session.started:
        return call.reply(200, {"status": None, "message": NOT_STARTED})
    return call.reply(200, {"status": session.status, "message": "QRCode is not available..."})


async def check_connection(call: Call) -> Response:
    """False only when the page itself is gone: a dead session on a live page is always Connected."""
    alive = call.world.page_lives(call.session)
    return call.reply(200, {"status": alive, "message": "Connected" if alive else "Disconnected"})


async def close_session(call: Call) -> Response:
    """500 for a session that was never started or not paired yet, although it does close."""
    if pairing.close_session(call.world, call.session):
        return call.reply(200, CLOSED_MESSAGE)
    return call.reply(500, {"status": False, "message": "Error closing session", "error": {"level": "error"}})


async def logout_session(call: Call) -> Response:
    """Unpairs and deletes the data but not the token file; answers no sooner than half a second later."""
    await pairing.logout_session(call.world, call.session)
    return call.reply(200, CLOSED_MESSAGE)


ROUTES = [
    Route("/api/{session}/{secretkey}/generate-token", generate_token, methods=["POST"]),
    Route("/api/{secretkey}/show-all-sessions", show_all_sessions, methods=["GET"]),
    Route("/api/{secretkey}/start-all", start_all, methods=["POST"]),
    Route("/api/{session}/{secretkey}/clear-session-data", clear_session_data, methods=["POST"]),
    Route("/api/{session}/start-session", authenticated(start_session), methods=["POST"]),
    Route("/api/{session}/status-session", authenticated(status_session), methods=["GET"]),
    Route("/api/{session}/qrcode-session", authenticated(qrcode_session), methods=["GET"]),
    Route("/api/{session}/check-connection-session", authenticated(check_connection), methods=["GET"]),
    Route("/api/{session}/close-session", authenticated(close_session), methods=["POST"]),
    Route("/api/{session}/logout-session", connected(logout_session), methods=["POST"]),
]
