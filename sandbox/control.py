"""The stand-in's own page and its JSON routes, under `/_sandbox`: scan, write, break. No real server has them.

They have no password. So they answer only this machine, and no page of another origin.
"""

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from sandbox import acknowledgements, inbound_messages, pairing
from sandbox.calls import world_of
from sandbox.express import read_body
from sandbox.faults import CATALOGUE, FAULTS_BY_NAME
from sandbox.state import NumberFacts, Session, World, phone_of, without_ninth_digit
from sandbox.webhooks import post_raw

PREFIX = "/_sandbox"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PAGE_FILE = Path(__file__).with_name("page.html")
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'"
)

Handler = Callable[[World, Request, dict[str, Any]], Awaitable[Response]]


class ControlRefused(Exception):
    """The control route cannot do that: the status and one sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def local_only(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Only for this machine, and only for its own page: no other site's page may push the buttons."""

    async def endpoint(request: Request) -> Response:
        if not _is_local(request):
            return JSONResponse({"error": "only for this machine"}, 403)
        world = world_of(request)
        try:
            return await handler(world, request, await read_body(request, world.config.max_body))
        except ControlRefused as refused:
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


def _get_started_session(world: World, request: Request) -> Session:
    session = world.sessions.get(request.path_params["session"])
    if session is None:
        raise ControlRefused(404, "no such session was ever started")
    return session


async def show_page(_world: World, _request: Request, _body: dict[str, Any]) -> Response:
    """The page; everything on it comes from `state` and is put there as text."""
    return HTMLResponse(PAGE_FILE.read_text(encoding="utf-8"), headers={"Content-Security-Policy": PAGE_POLICY})


async def get_state(world: World, request: Request, _body: dict[str, Any]) -> Response:
    """Sessions, sent messages and faults. `?last=n` shortens the messages to the newest n."""
    last = request.query_params.get("last", "")
    sendings = [sending.as_json() for sending in world.sendings[-int(last) if last.isdigit() and int(last) else 0 :]]
    switched = world.faults.active()
    return JSONResponse(
        {
            "sessions": [_session_state(world, session) for session in world.sessions.values()],
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


def _session_state(world: World, session: Session) -> dict[str, Any]:
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


async def list_sent(world: World, request: Request, _body: dict[str, Any]) -> Response:
    """Every message that really went out, oldest first; `?session=` narrows it."""
    only = request.query_params.get("session")
    rows = [sending for sending in world.sendings if sending.outcome == "sent" and only in (None, sending.session)]
    return JSONResponse([sending.as_json() for sending in rows])


async def get_qr_picture(world: World, request: Request, _body: dict[str, Any]) -> Response:
    """The current QR of a session, for the page."""
    session = _get_started_session(world, request)
    if not session.scannable or not session.urlcode:
        raise ControlRefused(404, "no QR code now")
    return Response(session.qr_png, media_type="image/png", headers={"Cache-Control": "no-store"})


async def scan_code(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"phone": digits?}`: a phone reads the QR, or types the code. 409 when there is neither."""
    session = _get_started_session(world, request)
    try:
        pairing.scan_code(world, session, phone_of(str(body.get("phone") or "")) or None)
    except pairing.NotPairing:
        raise ControlRefused(409, f"nothing to scan: the session is {session.status}") from None
    return JSONResponse({"status": session.status, "phone": session.phone})


async def receive_message(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"phone", "name", "text", "type", "base64", "mimetype", "filename", "caption", "group", "id", "t"}`.

    A `type` of WhatsApp's own notices is filed in the chat and posted nowhere.
    """
    session = _get_started_session(world, request)
    if not session.phone:
        raise ControlRefused(409, "the session has no phone yet")
    if not phone_of(str(body.get("phone") or "")):
        raise ControlRefused(422, "phone is missing")
    message = inbound_messages.receive_message(world, session, body)
    return JSONResponse({"id": message["id"], "from": message["from"]}, 201)


async def edit_message(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"id", "text", "post": bool}`: a message is changed; with `post` it is posted again with its new text."""
    session = _get_started_session(world, request)
    message = inbound_messages.edit_message(
        world, session, str(body.get("id")), str(body.get("text")), post=bool(body.get("post"))
    )
    if message is None:
        raise ControlRefused(404, "no such message")
    return JSONResponse({"id": message["id"], "latestEditSenderTimestampMs": message["latestEditSenderTimestampMs"]})


async def push_ack(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"id", "ack"}`: any ack for any id, past every fault. Answers the receiver's status code."""
    session = _get_started_session(world, request)
    if not isinstance(body.get("id"), str) or not isinstance(body.get("ack"), int):
        raise ControlRefused(422, "id (text) and ack (number) are needed")
    return JSONResponse({"webhook_status": await acknowledgements.push_ack(world, session, body["id"], body["ack"])})


async def post_event(world: World, request: Request, body: dict[str, Any]) -> Response:
    """Posts the body as it stands to the session's webhook, past every fault."""
    return JSONResponse({"webhook_status": await post_raw(world, _get_started_session(world, request), body)})


async def kill_session(world: World, request: Request, body: dict[str, Any]) -> Response:
    """A zombie until the next start: says CONNECTED, is dead. `{"page_gone": true}` takes its page away instead."""
    session = _get_started_session(world, request)
    if body.get("page_gone"):
        pairing.crash_page(world, session)
    else:
        session.dead = True
    return JSONResponse({"status": session.status, "dead": True})


async def kill_chrome(world: World, request: Request, _body: dict[str, Any]) -> Response:
    """The session's Chrome is killed; the server goes on saying what it said."""
    session = _get_started_session(world, request)
    pairing.kill_chrome(world, session)
    return JSONResponse({"status": session.status})


async def crash_page(world: World, request: Request, _body: dict[str, Any]) -> Response:
    """The page crashes and Chrome lives on; nothing is posted."""
    session = _get_started_session(world, request)
    pairing.crash_page(world, session)
    return JSONResponse({"status": session.status})


async def set_whatsapp_away(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"away": bool}`: WhatsApp goes out of the page's reach, or comes back; what hung then leaves."""
    session = _get_started_session(world, request)
    session.away = bool(body.get("away"))
    session.dead = session.dead and session.away
    return JSONResponse({"status": session.status, "away": session.away})


async def add_to_address_book(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"phone": digits}`: the phone's owner saves a contact, for whose number WhatsApp is never asked again."""
    session = _get_started_session(world, request)
    session.address_book.add(phone_of(str(body.get("phone") or "")))
    return JSONResponse({"contacts": len(session.address_book)})


async def unlink_on_phone(world: World, request: Request, _body: dict[str, Any]) -> Response:
    """The user removes the linked device on the phone."""
    session = _get_started_session(world, request)
    pairing.unlink_on_phone(world, session)
    return JSONResponse({"status": session.status})


async def switch_fault(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"on": bool, "session": name or null, …options}`. What happens once (ONCE) stays off."""
    name = request.path_params["name"]
    if name not in FAULTS_BY_NAME:
        raise ControlRefused(404, f"no fault {name!r}; there are {', '.join(sorted(FAULTS_BY_NAME))}")
    options = {key: value for key, value in body.items() if key not in ("on", "session")}
    if not body.get("on"):
        world.faults.turn_off(name, body.get("session"))
    elif name in ONE_TIME_FAULTS:
        ONE_TIME_FAULTS[name](world, body.get("session"))
    else:
        world.faults.turn_on(name, body.get("session"), **options)
    return JSONResponse({"active": world.faults.active()})


def _for_each_session(world: World, name: str | None, crash: Callable[[World, Session], None]) -> None:
    for session in list(world.sessions.values()):
        if name in (None, session.name):
            crash(world, session)


# Faults that happen at the moment at which they are switched on.
ONE_TIME_FAULTS: dict[str, Callable[[World, str | None], None]] = {
    "restart_all": lambda world, _name: pairing.restart_all_sessions(world),
    "chrome_dies": lambda world, name: _for_each_session(world, name, pairing.kill_chrome),
    "page_crashes": lambda world, name: _for_each_session(world, name, pairing.crash_page),
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


async def set_number(world: World, request: Request, body: dict[str, Any]) -> Response:
    """`{"exists": bool, "ninth_digit": bool, "address": text}`: what WhatsApp knows of a number."""
    phone = phone_of(request.path_params["phone"])
    address = body.get("address") or (
        f"{without_ninth_digit(phone)}@c.us" if body.get("ninth_digit") is False else None
    )
    known = world.numbers[phone] = NumberFacts(bool(body.get("exists", True)), address)
    return JSONResponse({"phone": phone, "exists": known.exists, "address": known.address})


_get = functools.partial(Route, methods=["GET"])
_post = functools.partial(Route, methods=["POST"])

ROUTES = [
    _get(PREFIX, local_only(show_page)),
    _get(f"{PREFIX}/", local_only(show_page)),
    _get(f"{PREFIX}/state", local_only(get_state)),
    _get(f"{PREFIX}/sent", local_only(list_sent)),
    _get(f"{PREFIX}/sessions/{{session}}/qr.png", local_only(get_qr_picture)),
    _post(f"{PREFIX}/sessions/{{session}}/scan", local_only(scan_code)),
    _post(f"{PREFIX}/sessions/{{session}}/inbound", local_only(receive_message)),
    _post(f"{PREFIX}/sessions/{{session}}/edit", local_only(edit_message)),
    _post(f"{PREFIX}/sessions/{{session}}/ack", local_only(push_ack)),
    _post(f"{PREFIX}/sessions/{{session}}/event", local_only(post_event)),
    _post(f"{PREFIX}/sessions/{{session}}/kill", local_only(kill_session)),
    _post(f"{PREFIX}/sessions/{{session}}/chrome-dies", local_only(kill_chrome)),
    _post(f"{PREFIX}/sessions/{{session}}/page-crashes", local_only(crash_page)),
    _post(f"{PREFIX}/sessions/{{session}}/whatsapp-away", local_only(set_whatsapp_away)),
    _post(f"{PREFIX}/sessions/{{session}}/address-book", local_only(add_to_address_book)),
    _post(f"{PREFIX}/sessions/{{session}}/phone-logout", local_only(unlink_on_phone)),
    _post(f"{PREFIX}/faults", local_only(clear_faults)),
    _post(f"{PREFIX}/faults/{{name}}", local_only(switch_fault)),
    _post(f"{PREFIX}/reset", local_only(reset)),
    _post(f"{PREFIX}/numbers/{{phone}}", local_only(set_number)),
]
