"""The stand-in's own page and its JSON routes, under `/_sandbox`: scan, write, break. No real server has them.

They have no password, so they answer this machine only, and no page of another origin.
"""

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from sandbox import chats, pairing
from sandbox.calls import world_of
from sandbox.express import read_body
from sandbox.faults import BY_NAME, CATALOGUE
from sandbox.state import Number, Session, World, phone_of, without_ninth_digit
from sandbox.webhooks import post_raw

PREFIX = "/_sandbox"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PAGE = Path(__file__).with_name("page.html")
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'"
)

Handler = Callable[[World, Request, dict[str, Any]], Awaitable[Response]]


class Refused(Exception):
    """The control route cannot do that: the status and one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def local(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Only for this machine, and only for its own page: no other site's page may push the buttons."""

    async def endpoint(request: Request) -> Response:
        if not _is_local(request):
            return JSONResponse({"error": "only for this machine"}, 403)
        world = world_of(request)
        try:
            return await handler(world, request, await read_body(request, world.config.max_body))
        except Refused as refused:
            return JSONResponse({"error": str(refused)}, refused.status)

    return endpoint


def _is_local(request: Request) -> bool:
    origin = request.headers.get("origin")
    return (
        request.client is not None
        and request.client.host in LOOPBACK
        # Another host name that resolves to this machine is somebody else's page (DNS rebinding).
        and request.url.hostname in LOOPBACK
        and (origin is None or urlsplit(origin).netloc == request.url.netloc)
    )


def _started(world: World, request: Request) -> Session:
    session = world.sessions.get(request.path_params["session"])
    if session is None:
        raise Refused(404, "no such session was ever started")
    return session


async def page(_world: World, _request: Request, _body: dict[str, Any]) -> Response:
    """The page; everything on it comes from `state` and is put there as text."""
    return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers={"Content-Security-Policy": PAGE_POLICY})


async def state(world: World, request: Request, _body: dict[str, Any]) -> Response:
    """Sessions, sent messages and faults. `?last=n` shortens the messages to the newest n."""
    last = request.query_params.get("last", "")
    sendings = [sending.as_json() for sending in world.sendings[-int(last) if last.isdigit() and int(last) else 0 :]]
    switched = world.faults.active()
    return JSONResponse(
        {
            "sessions": [_session_json(world, session) for session in world.sessions.values()],
            "sent": [sending for sending in sendings if sending["outcome"] == "sent"],
            "not_sent": [sending for sending in sendings if sending["outcome"] != "sent"],
            "faults": [
                {
                    "name": fault.name,
                    "sentence": fault.sentence,
                    "options": dict(fault.options),
                    "on": [switch for switch in switched if switch["name"] == fault.name],
                }
                for fault in CATALOGUE
            ],
            "posts": list(world.posts),
            "locked_starts": world.locked_starts,
            "request_ids": list(world.request_ids),
            "seen": [{"session": name, "chat": chat} for name, chat in world.seen],
        }
    )


def _session_json(world: World, session: Session) -> dict[str, Any]:
    return {
        "name": session.name,
        "status": session.status,
        "stored": session.stored,
        "phone": session.phone,
        "dead": world.dead(session),
        "browser": session.browser is not None,
        "phone_code": session.phone_code,
        "urlcode": session.urlcode if session.scannable else None,
        "scannable": session.scannable,
        "has_webhook": bool(session.config.get("webhook")),
        "chats": len(session.chats),
    }


async def sent(world: World, request: Request, _body: dict[str, Any]) -> Response:
    """Every message that really went out, oldest first; `?session=` narrows it."""
    only = request.query_params.get("session")
    rows = [sending for sending in world.sendings if sending.outcome == "sent" and only in (None, sending.session)]
    return JSONResponse([sending.as_json() for sending in rows])


async def qr_picture(world: World, request: Request, _body: dict[str, Any]) -> Response:
    """The current QR of a session, for the page."""
    session = _started(world, request)
    if not session.scannable or not session.urlcode:
        raise Refused(404, "no QR code now")
    return Response(session.qr_png, media_type="image/png", headers={"Cache-Control": "no-store"})


async def scan(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"phone": digits?}`: a phone reads the QR, or types the code. 409 when there is neither."""
    session = _started(world, request)
    try:
        pairing.scan(world, session, phone_of(str(body.get("phone") or "")) or None)
    except pairing.NotPairing:
        raise Refused(409, f"nothing to scan: the session is {session.status}") from None
    return JSONResponse({"status": session.status, "phone": session.phone})


async def inbound(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"phone", "name", "text", "type", "base64", "mimetype", "filename", "caption", "group", "id", "t"}`.

    A `type` of WhatsApp's own notices is filed in the chat and posted nowhere.
    """
    session = _started(world, request)
    if not session.phone:
        raise Refused(409, "the session has no phone yet")
    if not phone_of(str(body.get("phone") or "")):
        raise Refused(422, "phone is missing")
    message = chats.receive(world, session, body)
    return JSONResponse({"id": message["id"], "from": message["from"]}, 201)


async def edit(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"id", "text", "post": bool}`: a message is changed; with `post` it is posted again with its new text."""
    session = _started(world, request)
    message = chats.edit(world, session, str(body.get("id")), str(body.get("text")), post=bool(body.get("post")))
    if message is None:
        raise Refused(404, "no such message")
    return JSONResponse({"id": message["id"], "latestEditSenderTimestampMs": message["latestEditSenderTimestampMs"]})


async def ack(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"id", "ack"}`: any ack for any id, past every fault. Answers the receiver's status code."""
    session = _started(world, request)
    if not isinstance(body.get("id"), str) or not isinstance(body.get("ack"), int):
        raise Refused(422, "id (text) and ack (number) are needed")
    return JSONResponse({"webhook_status": await chats.push_ack(world, session, body["id"], body["ack"])})


async def event(world: World, request: Request, body: dict[str, Any]) -> Response:
    """Posts the body as it stands to the session's webhook, past every fault."""
    return JSONResponse({"webhook_status": await post_raw(world, _started(world, request), body)})


async def kill(world: World, request: Request, body: dict[str, Any]) -> Response:
    """A zombie until the next start: says CONNECTED, is dead. `{"page_gone": true}` takes its page away instead."""
    session = _started(world, request)
    if body.get("page_gone"):
        pairing.page_crashes(world, session)
    else:
        session.dead = True
    return JSONResponse({"status": session.status, "dead": True})


async def chrome_dies(world: World, request: Request, _body: dict[str, Any]) -> Response:
    """The session's Chrome is killed; the server goes on saying what it said."""
    session = _started(world, request)
    pairing.chrome_dies(world, session)
    return JSONResponse({"status": session.status})


async def page_crashes(world: World, request: Request, _body: dict[str, Any]) -> Response:
    """The page crashes and Chrome lives on; nothing is posted."""
    session = _started(world, request)
    pairing.page_crashes(world, session)
    return JSONResponse({"status": session.status})


async def whatsapp_away(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"away": bool}`: WhatsApp goes out of the page's reach, or comes back; what hung then leaves."""
    session = _started(world, request)
    session.away = bool(body.get("away"))
    session.dead = session.dead and session.away
    return JSONResponse({"status": session.status, "away": session.away})


async def address_book(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"phone": digits}`: the phone's owner saves a contact, for whose number WhatsApp is never asked again."""
    session = _started(world, request)
    session.address_book.add(phone_of(str(body.get("phone") or "")))
    return JSONResponse({"contacts": len(session.address_book)})


async def phone_logout(world: World, request: Request, _body: dict[str, Any]) -> Response:
    """The user removes the linked device on the phone."""
    session = _started(world, request)
    pairing.removed_on_phone(world, session)
    return JSONResponse({"status": session.status})


async def switch_fault(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"on": bool, "session": name or null, …options}`. What happens once (ONCE) stays off."""
    name = request.path_params["name"]
    if name not in BY_NAME:
        raise Refused(404, f"no fault {name!r}; there are {', '.join(sorted(BY_NAME))}")
    options = {key: value for key, value in body.items() if key not in ("on", "session")}
    if not body.get("on"):
        world.faults.turn_off(name, body.get("session"))
    elif name in ONCE:
        ONCE[name](world, body.get("session"))
    else:
        world.faults.turn_on(name, body.get("session"), **options)
    return JSONResponse({"active": world.faults.active()})


def _each(world: World, name: str | None, crash: Callable[[World, Session], None]) -> None:
    for session in list(world.sessions.values()):
        if name in (None, session.name):
            crash(world, session)


# Faults that happen at the moment at which they are switched on.
ONCE: dict[str, Callable[[World, str | None], None]] = {
    "restart_all": lambda world, _name: pairing.restart_all(world),
    "chrome_dies": lambda world, name: _each(world, name, pairing.chrome_dies),
    "page_crashes": lambda world, name: _each(world, name, pairing.page_crashes),
}


async def clear_faults(world: World, _request: Request, _body: dict[str, Any]) -> Response:
    """Everything works again."""
    for fault in CATALOGUE:
        world.faults.turn_off(fault.name)
    return JSONResponse({"active": world.faults.active()})


async def reset(world: World, _request: Request, _body: dict[str, Any]) -> Response:
    """The server as it first started: no session, no message, no number, no fault."""
    await world.forget()
    return JSONResponse({"sessions": []})


async def number(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"exists": bool, "ninth_digit": bool, "address": text}`: what WhatsApp knows of a number."""
    phone = phone_of(request.path_params["phone"])
    address = body.get("address") or (
        f"{without_ninth_digit(phone)}@c.us" if body.get("ninth_digit") is False else None
    )
    known = world.numbers[phone] = Number(bool(body.get("exists", True)), address)
    return JSONResponse({"phone": phone, "exists": known.exists, "address": known.address})


_get = functools.partial(Route, methods=["GET"])
_post = functools.partial(Route, methods=["POST"])

ROUTES = [
    _get(PREFIX, local(page)),
    _get(f"{PREFIX}/", local(page)),
    _get(f"{PREFIX}/state", local(state)),
    _get(f"{PREFIX}/sent", local(sent)),
    _get(f"{PREFIX}/sessions/{{session}}/qr.png", local(qr_picture)),
    _post(f"{PREFIX}/sessions/{{session}}/scan", local(scan)),
    _post(f"{PREFIX}/sessions/{{session}}/inbound", local(inbound)),
    _post(f"{PREFIX}/sessions/{{session}}/edit", local(edit)),
    _post(f"{PREFIX}/sessions/{{session}}/ack", local(ack)),
    _post(f"{PREFIX}/sessions/{{session}}/event", local(event)),
    _post(f"{PREFIX}/sessions/{{session}}/kill", local(kill)),
    _post(f"{PREFIX}/sessions/{{session}}/chrome-dies", local(chrome_dies)),
    _post(f"{PREFIX}/sessions/{{session}}/page-crashes", local(page_crashes)),
    _post(f"{PREFIX}/sessions/{{session}}/whatsapp-away", local(whatsapp_away)),
    _post(f"{PREFIX}/sessions/{{session}}/address-book", local(address_book)),
    _post(f"{PREFIX}/sessions/{{session}}/phone-logout", local(phone_logout)),
    _post(f"{PREFIX}/faults", local(clear_faults)),
    _post(f"{PREFIX}/faults/{{name}}", local(switch_fault)),
    _post(f"{PREFIX}/reset", local(reset)),
    _post(f"{PREFIX}/numbers/{{phone}}", local(number)),
]
