"""What every API call passes first, as in wppconnect-server's `verifyToken` and `statusConnection`."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import bcrypt
from starlette.requests import Request
from starlette.responses import Response

from sandbox.express import read_body, reply
from sandbox.state import Session, World, phone_of

# bcrypt reads no more than this; Python's bcrypt 5 raises instead of ignoring the rest.
BCRYPT_BYTES = 72
# Express' `contactToArray`: longer than this, a contact is taken for an anonymous id.
LONGEST_PHONE = 14

NO_TOKEN = {"message": "Token is not present. Check your header and try again"}
BAD_TOKEN = {"error": "Check that the Session and Token are correct"}
DISCONNECTED = {"response": None, "status": "Disconnected", "message": "A sessão do WhatsApp não está ativa."}


@dataclass(frozen=True)
class Call:
    """One authenticated call.

    `contacts` are the addresses that the body's `phone` came to. `refused` is the 400 that was answered for a number
    not on WhatsApp; the real server goes on with the call all the same.
    """

    world: World
    request: Request
    session: Session
    body: dict[str, Any]
    contacts: tuple[str, ...] = ()
    refused: Response | None = None

    def reply(self, status: int, data: Any) -> Response:
        """A JSON answer."""
        return reply(self.request, status, data, self.session.name if self.session.started else "")


Handler = Callable[[Call], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def world_of(request: Request) -> World:
    """The world of the application that got this request."""
    world: World = request.app.state.world
    return world


def has_secret_key(request: Request) -> bool:
    """Whether the path carries the server's SECRET_KEY."""
    return bool(request.path_params["secretkey"] == world_of(request).config.secret)


def make_token(session: str, secret: str, cost: int) -> str:
    """`bcrypt(session + SECRET_KEY)` with `/`→`_` and `+`→`-`. Takes tens of milliseconds at cost 10."""
    digest = bcrypt.hashpw((session + secret).encode()[:BCRYPT_BYTES], bcrypt.gensalt(cost))
    return digest.decode().replace("/", "_").replace("+", "-")


def verify_token(session: str, secret: str, token: str) -> bool:
    """The comparison that the real server makes on every call: nothing is remembered from one to the next."""
    digest = token.replace("_", "/").replace("-", "+").encode()
    try:
        return bcrypt.checkpw((session + secret).encode()[:BCRYPT_BYTES], digest)
    except ValueError:
        return False


def authenticated(handler: Handler) -> Endpoint:
    """`verifyToken`: the bearer, or `<session>:<token>` in the path, must belong to this very session."""

    async def endpoint(request: Request) -> Response:
        world = world_of(request)
        if request_id := request.headers.get("x-request-id"):
            world.request_ids.append((request.url.path.split("/")[3], request_id))
        body = await read_body(request, world.config.max_body)
        name, _, token = request.path_params["session"].partition(":")
        if not token:
            _, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            return reply(request, 401, NO_TOKEN)
        if (name, token) not in world.known_tokens:
            # In a thread (bcrypt frees the interpreter lock), so that the cost of a token is its caller's only.
            if not await asyncio.to_thread(verify_token, name, world.config.secret, token):
                return reply(request, 401, BAD_TOKEN)
            if world.config.remember_tokens:
                world.known_tokens.add((name, token))
        return await handler(Call(world, request, world.session(name), body))

    return endpoint


def connected(handler: Handler) -> Endpoint:
    """`verifyToken`, then `statusConnection`: a live page, and the body's `phone` turned into addresses."""

    async def with_contacts(call: Call) -> Response:
        world, session = call.world, call.session
        phone = call.body.get("phone") or []
        # A phone sent as a JSON number breaks the real middleware, whose error handler says Disconnected.
        if not world.page_lives(session) or not isinstance(phone, str | list):
            return call.reply(404, DISCONNECTED)
        contacts, missing = _check_numbers(call, to_addresses(phone, call.body))
        refused = call.reply(400, _no_such_number(missing[0])) if missing else None
        return await handler(Call(world, call.request, session, call.body, contacts, refused))

    return authenticated(with_contacts)


def to_addresses(phone: str | list[Any], body: dict[str, Any]) -> list[str]:
    """`contactToArray`: drops punctuation but KEEPS spaces, and takes what is then longer than 14 for a `@lid`."""
    texts = [str(item) for item in phone] if isinstance(phone, list) else re.split(r"\s*[,;]\s*", phone)
    contacts = [text.split("@")[0] for text in texts]
    if body.get("isGroup"):
        return [f"{contact}@g.us" for contact in contacts if contact]
    if body.get("isNewsletter"):
        return [f"{contact}@newsletter" for contact in contacts if contact]
    cleaned = [re.sub(r"[^\w ]", "", contact, flags=re.ASCII) for contact in contacts]
    return [f"{contact}@{_address_domain(contact, body)}" for contact in cleaned if contact]


def _address_domain(contact: str, body: dict[str, Any]) -> str:
    return "lid" if body.get("isLid") or len(contact) > LONGEST_PHONE else "c.us"


def _check_numbers(call: Call, addresses: list[str]) -> tuple[tuple[str, ...], list[str]]:
    """The addresses that WhatsApp uses, and those that it does not know, which stay in the list: the send is tried."""
    missing: list[str] = []
    used: list[str] = []
    for address in addresses:
        known = address
        if address.endswith("@c.us"):
            known = call.world.whatsapp_address(call.session, address) or ""
            if not call.world.dead(call.session):
                call.session.answered[phone_of(address)] = time.monotonic()
            lying = call.world.faults.strike("not_found_but_delivered", call.session.name) is not None
            if not known or lying:
                missing.append(address)
        used.append(known or address)
    return tuple(used), missing


def _no_such_number(address: str) -> dict[str, Any]:
    number = address.split("@")[0]
    return {"response": None, "status": "Connected", "message": f"O número {number} não existe."}
