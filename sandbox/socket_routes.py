"""socket.io by long polling (Engine.IO protocol 4), enough to see who is let in: no credential is asked for.

The real server sends the QR codes and messages of all sessions to everybody who joins. This one sends nothing. The
packets are those of the protocol's documents and were not measured: `0` open, `40` join, `44` refused, `1` close.
"""

import json
import secrets

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sandbox.calls import world_of
from sandbox.express import HEADERS

OPENING = {"upgrades": ["websocket"], "pingInterval": 25000, "pingTimeout": 20000, "maxPayload": 1000000}


async def poll_socket(request: Request) -> Response:
    """Without `sid` a new socket; with it what waits for it."""
    if request.query_params.get("EIO") != "4" or request.query_params.get("transport") != "polling":
        return _refuse(0, "Transport unknown")
    sockets = world_of(request).sockets
    sid = request.query_params.get("sid")
    if sid is None:
        sid = secrets.token_urlsafe(15)
        sockets[sid] = ""
        return _packet("0" + json.dumps({"sid": sid, **OPENING}, separators=(",", ":")))
    if sid not in sockets:
        return _refuse(1, "Session ID unknown")
    waiting, sockets[sid] = sockets[sid], ""
    return _packet(waiting or "6")


async def send_packet(request: Request) -> Response:
    """`40` asks to join, `1` leaves."""
    world = world_of(request)
    sid = request.query_params.get("sid", "")
    if sid not in world.sockets:
        return _refuse(1, "Session ID unknown")
    packet = (await request.body()).decode()
    if packet == "1":
        del world.sockets[sid]
    elif packet.startswith("40"):
        refuses = world.faults.strike("socket_refuses") is not None
        answer = {"message": "unauthorized"} if refuses else {"sid": secrets.token_urlsafe(15)}
        world.sockets[sid] = ("44" if refuses else "40") + json.dumps(answer, separators=(",", ":"))
    return Response("ok", 200, HEADERS, "text/html")


def _packet(text: str) -> Response:
    return Response(text, 200, HEADERS, "text/plain; charset=UTF-8")


def _refuse(code: int, message: str) -> Response:
    return Response(json.dumps({"code": code, "message": message}), 400, HEADERS, "application/json")


ROUTES = [Route("/socket.io/", poll_socket, methods=["GET"]), Route("/socket.io/", send_packet, methods=["POST"])]
