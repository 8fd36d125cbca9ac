"""The one place that talks HTTP to WPPConnect servers. Synchronous, thread-safe, no retries: whether to
repeat a call is decided above, from the error (`safe_to_retry`) and from evidence.

    What went wrong                                     a call that changes things   a call that only reads
    no connection, none free in the pool                WppUnreachable               WppUnreachable
    time-out or break after the request left            WppOutcomeUnknown            WppNoAnswer
    5xx, unreadable 2xx                                 WppOutcomeUnknown            WppNoAnswer
    404 JSON with `status: Disconnected`                WppDisconnected              WppDisconnected
    401                                                 WppUnauthorized              WppUnauthorized
    401 with `chat_not_found`                           –                            WppChatNotFound
    500 with a code of NOTHING_DONE                     WppRefused                   WppRefused
    404 HTML (no such route), any other 3xx, 4xx        WppRefused                   WppRefused
    400 to a send (the server sends all the same)       WppOutcomeUnknown            –
    201 to a send, but without a message id             WppRefused                   –
    a server that is not configured                     ConfigurationError           ConfigurationError

Some routes carry the SECRET_KEY in their URL, and every URL is private, so no error and no log line has one:
errors are raised outside the `except` that saw the cause (no `__context__` either), and httpx's own logging
is silenced.

Protocol facts are measured against wppconnect-server 2.10.4 unless a docstring says otherwise.
"""

import contextlib
import json
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar
from urllib.parse import quote

import bcrypt
import httpx
import structlog

from services import errors, meters
from services.wppconnect import answers
from services.wppconnect.answers import (
    Answer,
    Chat,
    ChatMessage,
    Contact,
    Device,
    Identity,
    NumberCheck,
    Page,
    Route,
    SentMessage,
    SessionState,
)
from services.wppconnect.events import InboundMessage, Mark
from services.wppconnect.phone import MAX_DIGITS, ChatKind, chat_kind, is_group

__all__ = [
    "Chat",
    "ChatMessage",
    "Contact",
    "Device",
    "Identity",
    "NumberCheck",
    "Page",
    "SentMessage",
    "SessionState",
    "Timeouts",
    "WppClient",
    "session_token",
    "transport_failure",
]

T = TypeVar("T")

BCRYPT_COST = 4  # the server's check costs what the hash says: 1.8 ms a call, 47.8 ms with generate-token's 10
BCRYPT_BYTES = 72  # bcrypt reads no more; Python's bcrypt 5 raises past it, the server's cuts
MAX_TOKENS = 4096
MAX_ANSWER_BYTES = 64 * 1024 * 1024
KEEPALIVE_SECONDS = 2.0  # under Node's 5 s, or a send could land on a connection that the server is just closing

_SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}")  # a ":" would be read as "session:token", a "/" as another route
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_LID_DIGITS = re.compile(r"[0-9]{5,20}")
_CHAT = re.compile(r"[0-9A-Za-z.:-]{3,64}@(c\.us|lid|g\.us|broadcast|newsletter)")

_log = structlog.get_logger(__name__)


def _discard(record: logging.LogRecord) -> bool:  # noqa: ARG001
    return False


for _name in ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks"))):
    # httpx logs each URL at INFO, httpcore the headers at DEBUG; a filter outlives any later logging set-up.
    logging.getLogger(_name).addFilter(_discard)


@dataclass(frozen=True)
class Timeouts:
    """Seconds. `connect` also bounds the wait for a free connection; the others bound one call's answer."""

    connect: float = 3.0
    status: float = 5.0  # what the server knows by itself
    query: float = 10.0  # what it must ask WhatsApp for
    start: float = 15.0
    send: float = 30.0
    upload: float = 40.0  # a file of tens of MB has to get there, and from there to WhatsApp
    logout: float = 15.0


class WppClient:
    """A pooled client for the configured servers. One per process; any thread may call any method."""

    def __init__(
        self,
        servers: Mapping[str, str],
        timeouts: Timeouts | None = None,
        max_connections: int = 256,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        """`servers`: base URL → SECRET_KEY. Raises ConfigurationError for an address that is not http(s)."""
        self._timeouts = timeouts or Timeouts()
        self._servers = {_base_url(url): secret for url, secret in servers.items()}
        self._tokens = _TokenCache(max_tokens)
        self._http = httpx.Client(
            trust_env=False,  # no proxy, and no .netrc that would replace the Authorization header
            follow_redirects=False,  # a redirect would carry the token, or a secret URL, to somebody else
            limits=httpx.Limits(
                max_connections=max_connections,
                max_keepalive_connections=64,
                keepalive_expiry=KEEPALIVE_SECONDS,
            ),
        )

    def close(self) -> None:
        """Close the pool's connections; the client is of no use afterwards."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # Sessions

    def start_session(
        self, server_url: str, session: str, webhook: str, phone: str | None = None, wait_qr: bool = False
    ) -> SessionState:
        """Start a session. Without `wait_qr` the answer is the state BEFORE the start, at once.

        `webhook` is always sent: the body replaces the session's stored configuration. With `phone` (digits) the
        pairing is by code. With `wait_qr` a session that was not started before hangs until its first QR or code;
        any other answers at once all the same. Raises InvalidPhone, WppError.
        """
        body: dict[str, Any] = {"webhook": webhook, "waitQrCode": wait_qr}
        if phone is not None:
            body["phone"] = _phone_digits(phone)
        return self._call(server_url, session, answers.START, answers.session_state, body=body)

    def status_session(self, server_url: str, session: str) -> SessionState:
        """What the server says of the session. A dead one keeps saying CONNECTED. Raises WppError."""
        return self._call(server_url, session, answers.STATUS, answers.session_state)

    def check_connection(self, server_url: str, session: str) -> bool:
        """False is proof that the page is gone; True proves nothing about WhatsApp. Raises WppError."""
        return self._call(server_url, session, answers.CHECK, answers.connection)

    def close_session(self, server_url: str, session: str) -> bool:
        """Stop the session and keep its data; also what frees one stuck in INITIALIZING.

        True if the server confirmed. False if it answered 500, as it does for a session never started or not
        paired yet although it does close it: the caller verifies with `status_session`. Raises WppError.
        """
        return self._call(server_url, session, answers.CLOSE, answers.confirmed)

    def logout_session(self, server_url: str, session: str) -> bool:
        """Unpair and delete the session's data. False if it was not connected: then nothing is deleted.

        "Not connected" is also what a session with a dead page answers, although the phone still lists it as
        a linked device. Raises WppError.
        """
        try:
            return self._call(server_url, session, answers.LOGOUT, answers.confirmed)
        except errors.WppDisconnected:
            return False

    def clear_session_data(self, server_url: str, session: str) -> None:
        """Delete a stopped session's data on the server. Raises WppError.

        The server takes the SECRET_KEY only in the URL here, so its access log sees it.
        """
        self._call(server_url, session, answers.CLEAR, answers.confirmed)

    def show_all_sessions(self, server_url: str) -> list[str]:
        """Every session with stored data there, alive or not (SECRET_KEY in the URL). Raises WppError."""
        return self._call(server_url, "", answers.ALL, answers.session_names)

    # What is known of a session and of numbers

    def host_device(self, server_url: str, session: str) -> Device:
        """The paired phone, out of the browser's storage. Raises WppError; WppDisconnected if nobody is signed in."""
        return self._call(server_url, session, answers.HOST, answers.device)

    def phone_number(self, server_url: str, session: str) -> str:
        """The session's own number, digits, out of the browser's storage: a page that has lost WhatsApp answers too.

        Raises WppError; WppDisconnected if nobody is signed in.
        """
        return self._call(server_url, session, answers.PHONE, answers.own_number)

    def check_number(self, server_url: str, session: str, phone: str) -> NumberCheck:
        """Ask WhatsApp for a number (digits or `…@c.us`), before a first send. Raises InvalidPhone, WppError.

        WhatsApp counts these questions: they need a budget. It is the only reading call that must leave the browser,
        and never answers where WhatsApp is out of reach; but for a contact and for a number asked about within the last
        five minutes the browser answers by itself.
        """
        return self._call(server_url, session, answers.NUMBER, answers.number_check, tail=_phone_digits(phone))

    def identify(self, server_url: str, session: str, address: str) -> Identity:
        """The phone (digits) behind a `…@lid`, or the `…@lid` of a phone. Raises InvalidPhone, WppError."""
        contact = _recipient(address)
        tail = f"{contact['phone']}@{'lid' if 'isLid' in contact else 'c.us'}"
        return self._call(server_url, session, answers.PN_LID, answers.identity, tail=tail)

    # Messages

    def send_text(
        self, server_url: str, session: str, address_or_phone: str, text: str, quoted_id: str | None = None
    ) -> SentMessage:
        """Send one text to a phone (digits), a `…@c.us`, `…@lid` or `…@g.us` address. Raises InvalidPhone, WppError.

        The server wants bare digits in `phone`: it cuts at the `@`, deletes every other sign except blanks,
        and takes what is then longer than 14 characters for a `@lid` (so a formatted phone goes to nobody,
        with a 201). `…@c.us` is therefore cut to its digits. A `…@lid` goes out as its digits and
        `isLid: true`, or one of 14 digits or fewer would be sent to a stranger's phone; that flag is read
        from the server's source (`statusConnection`), not measured, and so is `isGroup` for a group.

        `quoted_id` makes it a reply: by the route `send-reply`, read from the server's source.
        On WppOutcomeUnknown it may have gone out: never send again without evidence. That is also what a 400
        (not on WhatsApp) raises, because the server tries to send all the same.
        """
        body = {"isGroup": False, **_recipient(address_or_phone), "message": text}
        if quoted_id is None:
            return self._send(server_url, session, answers.SEND, body)
        return self._send(server_url, session, answers.REPLY, {**body, "messageId": quoted_id})

    def send_image(
        self,
        server_url: str,
        session: str,
        address_or_phone: str,
        data_uri: str,
        filename: str,
        caption: str = "",
        quoted_id: str | None = None,
    ) -> SentMessage:
        """Send a picture, `data:image/…;base64,…`; the whole body up to 50 MB. Raises as `send_text`."""
        body = _file(address_or_phone, data_uri, filename, caption, quoted_id)
        return self._send(server_url, session, answers.SEND_IMAGE, body)

    def send_file(
        self,
        server_url: str,
        session: str,
        address_or_phone: str,
        data_uri: str,
        filename: str,
        caption: str = "",
        quoted_id: str | None = None,
    ) -> SentMessage:
        """Send any file; its MIME type decides what WhatsApp shows it as. Raises as `send_text`."""
        body = _file(address_or_phone, data_uri, filename, caption, quoted_id)
        return self._send(server_url, session, answers.SEND_FILE, body)

    def send_voice(
        self, server_url: str, session: str, address_or_phone: str, data_uri: str, quoted_id: str | None = None
    ) -> SentMessage:
        """Send a voice note, `data:audio/ogg;base64,…` with opus inside. Raises as `send_text`."""
        body = {"isGroup": False, **_recipient(address_or_phone), "base64Ptt": data_uri}
        return self._send(server_url, session, answers.SEND_VOICE, body | _quoting(quoted_id))

    def send_sticker(self, server_url: str, session: str, address_or_phone: str, data_uri: str) -> SentMessage:
        """Send a picture as a sticker. Raises as `send_text`.

        Read from the server's and its library's source, not measured: the field is called `path` and takes a `data:`
        URI as well.
        """
        body = {"isGroup": False, **_recipient(address_or_phone), "path": data_uri}
        return self._send(server_url, session, answers.SEND_STICKER, body)

    def send_location(
        self, server_url: str, session: str, address_or_phone: str, lat: float, lng: float, title: str, address: str
    ) -> SentMessage:
        """Send a place, in degrees. Raises as `send_text`."""
        body = {
            "isGroup": False,
            **_recipient(address_or_phone),
            "lat": str(lat),
            "lng": str(lng),
            "title": title,
            "address": address,
        }
        return self._send(server_url, session, answers.SEND_LOCATION, body)

    def send_contact(
        self, server_url: str, session: str, address_or_phone: str, contact_phone: str, name: str
    ) -> SentMessage:
        """Send a contact's card; `contact_phone` is digits. Raises as `send_text`.

        A `@lid` as short as a phone would reach the stranger whose phone that is (measured): the card goes to the phone
        behind it, and nowhere (WppRefused) where the server does not know that.
        """
        to = self._card_recipient(server_url, session, address_or_phone)
        body = {"isGroup": False, **_recipient(to), "name": name}
        body |= {"contactsId": [f"{_phone_digits(contact_phone)}@c.us"]}
        return self._send(server_url, session, answers.SEND_CONTACT, body)

    def _card_recipient(self, server_url: str, session: str, address: str) -> str:
        if not address.endswith("@lid") or len(address.removesuffix("@lid")) > MAX_DIGITS:
            return address
        phone = self.identify(server_url, session, address).phone
        if phone is None:
            raise errors.WppRefused("contact-vcard: a short @lid without a phone, nothing was sent")
        return phone

    def _send(self, server_url: str, session: str, route: Route, body: Mapping[str, Any]) -> SentMessage:
        return self._call(server_url, session, route, answers.sent_message, body=body)

    def get_messages(
        self, server_url: str, session: str, phone: str, count: int = 20, before_id: str | None = None
    ) -> list[ChatMessage]:
        """The last `count` messages of a chat (digits, `…@c.us`, `…@lid`), those before `before_id` if given, under
        whichever of their addresses WhatsApp has it: the messages' ids may name the other one.

        Notices and what has no id are left out. Raises InvalidPhone, WppChatNotFound, WppError.
        """
        chat = _recipient(phone)
        tail = f"{chat['phone']}@lid" if "isLid" in chat else phone if "isGroup" in chat else chat["phone"]
        return self._chat_of(server_url, session, tail, count, before_id, answers.chat_messages)[1]

    def read_chat(self, server_url: str, session: str, chat: str, count: int, before_id: str | None = None) -> Page:
        """A page of what the webhooks told, or should have told, of a chat: its newest `count` messages, or those
        before `before_id`. `chat` is an address as `list_chats` gives it; the page tells under which one of the same
        person it was found, and there the next page is to be asked for. Raises InvalidInput, WppChatNotFound, WppError.
        """
        if not _CHAT.fullmatch(chat):
            raise errors.InvalidInput("not the address of a chat")
        found, page = self._chat_of(server_url, session, chat, count, before_id, answers.history)
        return replace(page, chat=found)

    def _chat_of(
        self,
        server_url: str,
        session: str,
        chat: str,
        count: int,
        before_id: str | None,
        parse: Callable[[Route, Answer], T],
    ) -> tuple[str, T]:
        """A chat and the address that WhatsApp has it under: a person's phone or their `@lid` (measured: asked by the
        other one it answers 401 `chat_not_found`)."""
        params = {"count": str(count), "direction": "before"} | ({"id": before_id} if before_id else {})
        try:
            return chat, self._call(server_url, session, answers.MESSAGES, parse, tail=chat, params=params)
        except errors.WppChatNotFound:
            other = self._other_address(server_url, session, chat)
            if other is None:
                raise
        return other, self._call(server_url, session, answers.MESSAGES, parse, tail=other, params=params)

    def _other_address(self, server_url: str, session: str, chat: str) -> str | None:
        if chat_kind(chat) is not ChatKind.PERSON:
            return None
        known = self.identify(server_url, session, chat)
        if not chat.endswith("@lid"):
            return known.lid
        return f"{known.phone}@c.us" if known.phone else None

    def read_unread(self, server_url: str, session: str) -> list[InboundMessage | Mark]:
        """The messages of all chats that are not marked as read. Raises WppError."""
        return self._call(server_url, session, answers.UNREAD, answers.history).entries

    def get_media(self, server_url: str, session: str, message_id: str) -> tuple[bytes, str | None]:
        """A message's file, and its type where the server says one. Raises WppError, WppRefused where there is none."""
        return self._call(server_url, session, answers.MEDIA, answers.media_content, tail=message_id)

    def react(self, server_url: str, session: str, message_id: str, emoji: str) -> None:
        """React to a message; an empty `emoji` takes the reaction back: `false` does. Raises WppError."""
        body = {"msgId": message_id, "reaction": emoji or False}
        self._call(server_url, session, answers.REACT, answers.confirmed, body=body)

    def list_chats(self, server_url: str, session: str) -> list[Chat]:
        """The session's chats; those without an id are left out. Raises WppError."""
        return self._call(server_url, session, answers.CHATS, answers.chat_list, body={})

    def all_contacts(self, server_url: str, session: str) -> list[Contact]:
        """The phone's address book; who has no id is left out. Raises WppError."""
        return self._call(server_url, session, answers.CONTACTS, answers.contact_list)

    # The server itself

    def uptime(self, server_url: str) -> float:
        """Seconds since the server's start. Raises WppError, also where a proxy keeps `healthz` to itself."""
        return self._call(server_url, "", answers.HEALTH, answers.uptime)

    def accepts_secret(self, server_url: str, session: str, secret: str) -> bool:
        """Whether the server takes a token made with `secret` instead of its own. Raises WppError."""
        try:
            self._call(server_url, session, answers.STATUS, answers.session_state, secret=secret)
        except errors.WppUnauthorized:
            return False
        return True

    def lets_unhealthy_through(self, server_url: str) -> bool:
        """Whether who asks from here for `/unhealthy` reaches the server, which would end it.

        It is asked by POST, which harms nothing: the server's source routes only GET there, and Express says so in its
        own words, which a proxy that blocks the path does not know. Raises WppError where nobody answers.
        """
        return self._call(server_url, "", answers.UNHEALTHY, answers.reached_express)

    def lets_clear_through(self, server_url: str) -> bool:
        """Whether who asks from here for `clear-session-data` reaches the server.

        It is asked by GET, as `/unhealthy` by POST: the server's source routes only POST there. What a wrong secret
        would do is not tried: the answer is the same 400 whether the server acts or not, so that only its version
        tells, and another version may end its process by answering one request twice. Raises WppError where nobody
        answers.
        """
        return self._call(server_url, "", answers.CLEAR_ASKED, answers.reached_express)

    def socket_is_open(self, server_url: str) -> bool:
        """Whether socket.io lets anybody in who does not say who they are: it tells every session's QR codes and
        messages to all. By long polling: open, join, look, leave. Raises WppError where nobody answers.
        """
        engine = {"EIO": "4", "transport": "polling"}
        opened = self._call(server_url, "", answers.SOCKET, answers.socket_id, params=engine)
        if opened is None:
            return False
        own = {**engine, "sid": opened}
        self._call(server_url, "", answers.SOCKET_SEND, answers.confirmed, params=own, text="40")
        joined = self._call(server_url, "", answers.SOCKET, answers.socket_joined, params=own)
        with contextlib.suppress(errors.WppError):  # it would also be closed for its silence
            self._call(server_url, "", answers.SOCKET_SEND, answers.confirmed, params=own, text="1")
        return joined

    # One call

    def _call(
        self,
        server_url: str,
        session: str,
        route: Route,
        parse: Callable[[Route, Answer], T],
        *,
        tail: str = "",
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        text: str | None = None,
        secret: str | None = None,
    ) -> T:
        request = self._request(server_url, session, route, tail, params, body, text, secret)
        started = time.perf_counter()
        outcome, status = "interrompido", None
        try:
            answer = self._exchange(request, route)
            status = answer.status
            result = parse(route, answers.accepted(route, answer))
            outcome = "ok"
        except errors.WppError as error:
            outcome = error.code
            raise
        finally:
            seconds = time.perf_counter() - started
            meters.of_process().calls.labels(route.name, outcome).observe(seconds)
            ms = round(seconds * 1000, 1)
            write = _log.info if outcome == "ok" else _log.warning
            write("wpp_call", route=route.name, session=session, ms=ms, outcome=outcome, http_status=status)
        return result

    def _request(
        self,
        server_url: str,
        session: str,
        route: Route,
        tail: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        text: str | None,
        other_secret: str | None,
    ) -> httpx.Request:
        server = (server_url or "").rstrip("/")  # the column admits null
        secret = self._servers.get(server)
        if secret is None:
            raise errors.ConfigurationError("WPP_SERVER_URL: the session's server is not a configured one")
        if session and not _SESSION.fullmatch(session):
            raise errors.InvalidInput("a session's name has only letters, digits, - and _")
        private = quote(secret, safe="") if route.secret_in_url else ""
        path = "/".join(part for part in (session, private, route.name, quote(tail, safe="@")) if part)
        timeout = httpx.Timeout(self._seconds(route), connect=self._timeouts.connect, pool=self._timeouts.connect)
        # Escaped to ASCII: a lone surrogate in a text would raise an error that quotes the text.
        content = text.encode() if text is not None else None if body is None else json.dumps(body).encode()
        headers = self._headers(server, session, secret, has_body=body is not None)
        if other_secret is not None:
            headers["Authorization"] = f"Bearer {session_token(session, other_secret)}"
        return self._http.build_request(
            route.method,
            f"{server}/{route.name if route.bare else f'api/{path}'}",
            params=params,
            content=content,
            headers=headers,
            timeout=timeout,
        )

    def _seconds(self, route: Route) -> float:
        return float(getattr(self._timeouts, route.wait))

    def _headers(self, server: str, session: str, secret: str, has_body: bool) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if has_body:
            headers["Content-Type"] = "application/json"
        if session:
            headers["Authorization"] = f"Bearer {self._tokens.token(server, session, secret)}"
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        if isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id):
            headers["X-Request-Id"] = request_id
        return headers

    def _exchange(self, request: httpx.Request, route: Route) -> Answer:
        deadline = time.monotonic() + self._timeouts.connect + self._seconds(route)
        failure: errors.WppError | None = None
        try:
            response = self._http.send(request, stream=True)
            try:
                body = _read(response, deadline)
            finally:
                response.close()
        except httpx.RequestError as error:
            failure = transport_failure(error, route)
        if failure is not None:  # raised here, so that httpx's exception (URL, headers) is not its __context__
            raise failure
        if body is None:
            raise route.broken("the answer was too long or too slow")
        return answers.read_answer(response.status_code, body)


def session_token(session: str, secret: str) -> str:
    """The bearer token of one session, made as `generate-token` makes it but at bcrypt cost 4, and here, so
    that the secret does not travel. Different at each call (the salt); every one of them is valid.
    """
    digest = bcrypt.hashpw((session + secret).encode()[:BCRYPT_BYTES], bcrypt.gensalt(BCRYPT_COST)).decode()
    return digest.replace("/", "_").replace("+", "-")


class _TokenCache:
    """The most recently used tokens, by server and session."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()

    def token(self, server: str, session: str, secret: str) -> str:
        key = (server, session)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        token = session_token(session, secret)  # outside the lock: if two threads compute it, either one is valid
        with self._lock:
            self._kept[key] = token
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return token

    def __len__(self) -> int:
        return len(self._kept)


def _base_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
        usable = parsed.scheme in ("http", "https") and bool(parsed.host)
    except httpx.InvalidURL:
        usable = False
    if not usable:
        raise errors.ConfigurationError("WPP_SERVER_URL: must be an http:// or https:// address")
    return url.rstrip("/")


def _phone_digits(phone: str) -> str:
    digits = phone.removesuffix("@c.us")
    if not answers.PHONE_DIGITS.fullmatch(digits):
        raise errors.InvalidPhone("not a phone number in digits")
    return digits


def _file(address_or_phone: str, data_uri: str, filename: str, caption: str, quoted_id: str | None) -> dict[str, Any]:
    to = {"isGroup": False, **_recipient(address_or_phone)}
    return {**to, "filename": filename, "caption": caption, "base64": data_uri, **_quoting(quoted_id)}


def _quoting(quoted_id: str | None) -> dict[str, str]:
    """Read from the server's source: the field that makes a file or a voice note a reply."""
    return {"quotedMessageId": quoted_id} if quoted_id else {}


def _recipient(address: str) -> dict[str, Any]:
    if address.endswith("@g.us"):
        if not is_group(address):
            raise errors.InvalidPhone("not a group's address")
        return {"phone": address.removesuffix("@g.us"), "isGroup": True}
    if not address.endswith("@lid"):
        return {"phone": _phone_digits(address)}
    digits = address.removesuffix("@lid")
    if not _LID_DIGITS.fullmatch(digits):
        raise errors.InvalidPhone("not a @lid address")
    return {"phone": digits, "isLid": True}


_NOTHING_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


def transport_failure(error: httpx.RequestError, route: Route) -> errors.WppError:
    """The error for any failure below HTTP. Only the name of `error`'s class is taken over from it."""
    kind = type(error).__name__
    if isinstance(error, httpx.UnsupportedProtocol):
        return errors.WppRefused(f"{route.name}: {kind}")
    if isinstance(error, _NOTHING_LEFT):
        return errors.WppUnreachable(f"{route.name}: {kind}")
    return route.broken(kind)


def _read(response: httpx.Response, deadline: float) -> bytes | None:
    """The body, or None past MAX_ANSWER_BYTES or `deadline`: httpx's read time-out only bounds each piece."""
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES or time.monotonic() > deadline:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
