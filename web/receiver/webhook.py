"""The webhook receiver: prove the sender, read a bounded body, store it, answer. Everything else happens later.

It is a plain ASGI application instead of request and response handlers: the measured throughput needs that.
"""

import asyncio
import base64
import binascii
import hmac
import re
import time
from typing import Literal

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.errors import DatabaseUnavailable, RateLimited
from services.failure_log import FailureLog
from services.fleet.webhook_secrets import WEBHOOK_PATH
from services.inbound import event_store
from services.inbound.event_store import Inbox
from services.inbound.event_writer import Delivery
from services.platform.client_ip import Networks, client_ip
from web.receiver import body_coding
from web.receiver.body_coding import BodyCoding, BodyTooLarge
from web.refusals import record_refusal

log = structlog.get_logger(__name__)

# A media message carries its whole file in base64: WhatsApp's largest are tens of MB.
BODY_LIMIT = 64 * 1024 * 1024
# Bodies beyond this, and those that do not say how long they are, are read a few at a time: senders wait meanwhile.
LARGE_BODY_BYTES = 1024 * 1024
LARGE_BODIES_AT_ONCE = 4
CREDENTIAL_LIMIT = 512
VERIFIED_SECRETS_LIMIT = 20_000
SESSION_NAME = re.compile(r"user_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

WRONG_METHOD = b'{"code":"metodo","message":"Use POST."}'
WRONG_SECRET = b'{"code":"nao_autorizado","message":"Segredo do webhook incorreto."}'
TOO_MANY = b'{"code":"limite_excedido","message":"Segredos incorretos demais em pouco tempo."}'
TOO_LARGE = b'{"code":"corpo_grande","message":"Corpo maior que 64 MB."}'
NOT_STORED = b'{"code":"banco_indisponivel","message":"Tente de novo."}'
NOT_JSON = b'{"code":"corpo_invalido","message":"JSON esperado."}'

# Made once: an empty answer also leaves in one write, and its sender reads nothing.
OK_START: Message = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
EMPTY_BODY: Message = {"type": "http.response.body", "body": b""}

Credential = tuple[bytes, bytes]
Headers = list[Credential]
SecretVersion = Literal["current", "previous"]


class Disconnected(Exception):
    """The sender went away before its body was complete."""


class Receiver:
    """Takes what is posted to WEBHOOK_PATH (the shared address) and below it (one address a session).

    Everything else goes on to `app`. It stands before routing and middleware, which cost a third of a delivery's time.
    """

    def __init__(self, app: ASGIApp, into: Inbox, shared_token: str, proxies: Networks = ()) -> None:
        self._app = app
        self._proxies = proxies
        self._inbox = into
        self._shared_token = shared_token.encode()
        self._watch = FailureLog("deliveries")
        self._large = asyncio.Semaphore(LARGE_BODIES_AT_ONCE)
        # Headers that were proved a moment ago: the next deliveries of the same server need not be decoded and hashed.
        self._proved: dict[tuple[str | None, Credential], tuple[float, SecretVersion]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(WEBHOOK_PATH):
            await self._app(scope, receive, send)
            return
        session = scope["path"][len(WEBHOOK_PATH) :].removeprefix("/") or None
        if scope["method"] != "POST":
            await _answer(send, 405, WRONG_METHOD)
            return
        try:
            whose = await self._prove(session, scope["headers"])
        except DatabaseUnavailable as error:
            await self._not_stored(error, send)
            return
        if whose is None:
            await self._refuse(scope, session, send)
            return
        await self._take(session, whose == "current", scope["headers"], receive, send)

    async def _refuse(self, scope: Scope, session: str | None, send: Send) -> None:
        """Wrong secrets are counted by address, and only they are slowed: a true delivery comes once."""
        try:
            await record_refusal(self._inbox, "webhook_refused", session or "", client_ip(scope, self._proxies))
        except RateLimited as error:
            await _answer(send, 429, TOO_MANY, str(error.params["seconds"]))
        else:
            await _answer(send, 401, WRONG_SECRET)

    async def _prove(self, session: str | None, headers: Headers) -> SecretVersion | None:
        presented = _read_credential(headers)
        if presented is None:
            return None
        known = self._proved.get((session, presented))
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        whose = await self._compare(session, presented)
        if whose is not None:
            if len(self._proved) >= VERIFIED_SECRETS_LIMIT:
                self._proved.clear()
            self._proved[session, presented] = (time.monotonic() + event_store.SECRET_CACHE_SECONDS, whose)
        return whose

    async def _compare(self, session: str | None, presented: Credential) -> SecretVersion | None:
        offered = _read_secret(presented)
        if offered is None:
            return None
        if hmac.compare_digest(self._shared_token, offered.encode()):
            return "current"
        if session is None or not SESSION_NAME.fullmatch(session):
            return None
        return await self._inbox.verify(session, offered)

    async def _take(self, session: str | None, current: bool, headers: Headers, receive: Receive, send: Send) -> None:
        length, coding = _content_length(headers), body_coding.read_coding(headers)
        if length is not None and length > BODY_LIMIT:
            await self._too_large(session, send)
        # What a packed body will need, its length does not tell.
        elif length is None or length > LARGE_BODY_BYTES or coding.packed:
            async with self._large:
                await self._store(session, current, length, coding, receive, send)
        else:
            await self._store(session, current, length, coding, receive, send)

    async def _too_large(self, session: str | None, send: Send) -> None:
        log.warning("webhook_too_large", session=session)
        await _answer(send, 413, TOO_LARGE)

    async def _not_stored(self, error: DatabaseUnavailable, send: Send) -> None:
        self._watch.failed(error)
        await _answer(send, 503, NOT_STORED)

    async def _store(
        self, session: str | None, current: bool, length: int | None, coding: BodyCoding, receive: Receive, send: Send
    ) -> None:
        try:
            came = await (
                _read_body(receive)
                if length is None or length <= LARGE_BODY_BYTES
                else _read_large_body(length, receive)
            )
            body = await _decode(came, coding)
            valid = await self._inbox.receive(Delivery(session, current, body))
        except BodyTooLarge:
            await self._too_large(session, send)
        except DatabaseUnavailable as error:
            await self._not_stored(error, send)
        except Disconnected:
            log.warning("webhook_cut_off", session=session)
        else:
            self._watch.worked()
            if valid:
                await send(OK_START)
                await send(EMPTY_BODY)
            else:
                await _answer(send, 400, NOT_JSON)


def _read_credential(headers: Headers) -> Credential | None:
    """The header that the sender offers as its proof: `x-verify`, else Basic authentication."""
    basic: Credential | None = None
    for header in headers:
        if len(header[1]) > CREDENTIAL_LIMIT:
            continue
        if header[0] == b"x-verify":
            return header
        if header[0] == b"authorization" and header[1][:6].lower() == b"basic ":
            basic = header
    return basic


def _read_secret(presented: Credential) -> str | None:
    name, value = presented
    if name == b"x-verify":
        return value.decode("latin-1")
    try:
        return base64.b64decode(value[6:], validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


def _content_length(headers: Headers) -> int | None:
    """The length that the sender states, or None."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


async def _decode(body: bytes | bytearray, coding: BodyCoding) -> bytes | bytearray:
    """The body as JSON is written.

    Raises: BodyTooLarge.
    """
    if coding is body_coding.PLAIN:
        return body_coding.strip_mark(body)
    return await asyncio.to_thread(body_coding.decode_body, body, coding, BODY_LIMIT)


async def _read_body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > BODY_LIMIT:
            raise BodyTooLarge
        chunks.append(chunk)
        if not message.get("more_body"):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _read_large_body(length: int, receive: Receive) -> bytearray:
    """A large body, into a place made for it: pieces that are joined afterwards need its memory twice."""
    body, size, more = bytearray(length), 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        chunk: bytes = message.get("body", b"")
        body[size : size + len(chunk)] = chunk
        size += len(chunk)
        more = message.get("more_body", False)
    return body


async def _answer(send: Send, status: int, body: bytes, retry_after: str = "") -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if retry_after:
        headers.append((b"retry-after", retry_after.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
