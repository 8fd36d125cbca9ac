"""The client of WPPConnect servers: the one place that calls them. Synchronous, thread-safe, no retries.

Whether to repeat a call is decided above, from the error (`safe_to_retry`) and from evidence.

    What went wrong                                     a call that changes things   a call that only reads
    no connection, none free in the pool                WppUnreachable               WppUnreachable
    time-out or break after the request left            WppOutcomeUnknown            WppNoAnswer
    5xx, unreadable 2xx                                 WppOutcomeUnknown            WppNoAnswer
    404 JSON with `status: Disconnected`                WppDisconnected              WppDisconnected
    401                                                 WppUnauthorized              WppUnauthorized
    401 with `chat_not_found`                           –                            WppChatNotFound
    500 with a code of NOTHING_DONE                     WppRefused                   WppRefused
    500 to a send that names the restriction (463)      WppRestricted                –
    404 HTML (no such route), any other 3xx, 4xx        WppRefused                   WppRefused
    400 to a send (the server sends all the same)       WppOutcomeUnknown            –
    201 to a send, but without a message id             WppRefused                   –
    a server that is not configured                     ConfigurationError           ConfigurationError

Some routes carry the SECRET_KEY in their URL, and every URL is private, so no error and no log line has one: errors are
raised outside the `except` that saw the cause (no `__context__` either), and httpx's own logging is silenced.

Protocol facts are measured against wppconnect-server 2.10.4 unless a docstring says otherwise.
"""

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from services.errors import InvalidInput
from services.wppconnect import errors, responses, routes
from services.wppconnect.events import Annotation, InboundMessage
from services.wppconnect.http_caller import WppCaller
from services.wppconnect.phone import MAX_DIGITS, ChatKind, get_chat_kind
from services.wppconnect.request_fields import file_fields, phone_digits, quote_fields, recipient_fields
from services.wppconnect.responses import Answer
from services.wppconnect.results import (
    Chat,
    ChatMessage,
    Contact,
    Device,
    HistoryPage,
    Identity,
    NumberCheck,
    SentMessage,
    SessionState,
)
from services.wppconnect.routes import Route

T = TypeVar("T")

_CHAT_ADDRESS = re.compile(r"[0-9A-Za-z.:-]{3,64}@(c\.us|lid|g\.us|broadcast|newsletter)")


class WppClient(WppCaller):
    """A pooled client for the configured servers. One per process; any thread may call any method."""

    # Sessions

    def start_session(
        self, server_url: str, session: str, webhook: str, phone: str | None = None, wait_qr: bool = False
    ) -> SessionState:
        """Start a session. Without `wait_qr` the answer is the state BEFORE the start, at once.

        `webhook` is always sent: the body replaces the session's stored configuration. With `phone` (digits) the
        pairing is by code. With `wait_qr` a session that was not started before hangs until its first QR or code;
        any other answers at once all the same.

        Raises: InvalidPhone, WppError.
        """
        body: dict[str, Any] = {"webhook": webhook, "waitQrCode": wait_qr}
        if phone is not None:
            body["phone"] = phone_digits(phone)
        return self._call(server_url, session, routes.START, responses.parse_session_state, body=body)

    def status_session(self, server_url: str, session: str) -> SessionState:
        """What the server says of the session. A dead one keeps saying CONNECTED.

        Raises: WppError.
        """
        return self._call(server_url, session, routes.STATUS, responses.parse_session_state)

    def check_connection(self, server_url: str, session: str) -> bool:
        """False is proof that the page is gone; True proves nothing about WhatsApp.

        Raises: WppError.
        """
        return self._call(server_url, session, routes.CHECK, responses.parse_connection)

    def close_session(self, server_url: str, session: str) -> bool:
        """Stop the session and keep its data; also what frees one stuck in INITIALIZING.

        True if the server confirmed. False if it answered 500, as it does for a session never started or not
        paired yet although it does close it: the caller verifies with `status_session`.

        Raises: WppError.
        """
        return self._call(server_url, session, routes.CLOSE, responses.is_success)

    def logout_session(self, server_url: str, session: str) -> bool:
        """Unpair and delete the session's data. False if it was not connected: then nothing is deleted.

        "Not connected" is also what a session with a dead page answers, although the phone still lists it as
        a linked device.

        Raises: WppError.
        """
        try:
            return self._call(server_url, session, routes.LOGOUT, responses.is_success)
        except errors.WppDisconnected:
            return False

    def clear_session_data(self, server_url: str, session: str) -> None:
        """Delete a stopped session's data on the server.

        The server takes the SECRET_KEY only in the URL here, so its access log sees it.

        Raises: WppError.
        """
        self._call(server_url, session, routes.CLEAR, responses.is_success)

    def show_all_sessions(self, server_url: str) -> list[str]:
        """Every session with stored data there, alive or not (SECRET_KEY in the URL).

        Raises: WppError.
        """
        return self._call(server_url, "", routes.ALL, responses.parse_session_names)

    # What is known of a session and of numbers

    def host_device(self, server_url: str, session: str) -> Device:
        """The paired phone, out of the browser's storage.

        Raises: WppError; WppDisconnected if nobody is signed in.
        """
        return self._call(server_url, session, routes.HOST, responses.parse_device)

    def phone_number(self, server_url: str, session: str) -> str:
        """The session's own number, digits, out of the browser's storage: a page that has lost WhatsApp answers too.

        Raises: WppError; WppDisconnected if nobody is signed in.
        """
        return self._call(server_url, session, routes.PHONE, responses.parse_own_number)

    def check_number(self, server_url: str, session: str, phone: str) -> NumberCheck:
        """Ask WhatsApp for a number (digits or `…@c.us`), before a first send.

        WhatsApp counts these questions: they need a budget. It is the only reading call that must leave the browser,
        and never answers where WhatsApp is out of reach; but for a contact and for a number asked about within the last
        five minutes the browser answers by itself.

        Raises: InvalidPhone, WppError.
        """
        return self._call(server_url, session, routes.NUMBER, responses.parse_number_check, tail=phone_digits(phone))

    def identify(self, server_url: str, session: str, address: str) -> Identity:
        """The phone (digits) behind a `…@lid`, or the `…@lid` of a phone.

        Raises: InvalidPhone, WppError.
        """
        contact = recipient_fields(address)
        tail = f"{contact['phone']}@{'lid' if 'isLid' in contact else 'c.us'}"
        return self._call(server_url, session, routes.PN_LID, responses.parse_identity, tail=tail)

    # Messages

    def send_text(
        self, server_url: str, session: str, address_or_phone: str, text: str, quoted_id: str | None = None
    ) -> SentMessage:
        """Send one text to a phone (digits), a `…@c.us`, `…@lid` or `…@g.us` address.

        The server wants bare digits in `phone`: it cuts at the `@`, deletes every other sign except blanks, and takes
        what is then longer than 14 characters for a `@lid` (so a formatted phone goes to nobody, with a 201). `…@c.us`
        is therefore cut to its digits. A `…@lid` goes out as its digits and `isLid: true`, or one of 14 digits or fewer
        would be sent to a stranger's phone; that flag is read from the server's source (`statusConnection`), not
        measured, and so is `isGroup` for a group.

        `quoted_id` makes it a reply: by the route `send-reply`, read from the server's source. On WppOutcomeUnknown it
        may have gone out: never send again without evidence. That is also what a 400 (not on WhatsApp) raises, because
        the server tries to send all the same.

        Raises: InvalidPhone, WppError.
        """
        body = {"isGroup": False, **recipient_fields(address_or_phone), "message": text}
        if quoted_id is None:
            return self._send(server_url, session, routes.SEND, body)
        return self._send(server_url, session, routes.REPLY, {**body, "messageId": quoted_id})

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
        """Send a picture, `data:image/…;base64,…`; the whole body up to 50 MB.

        Raises: what `send_text` raises.
        """
        body = file_fields(address_or_phone, data_uri, filename, caption, quoted_id)
        return self._send(server_url, session, routes.SEND_IMAGE, body)

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
        """Send any file; its MIME type decides what WhatsApp shows it as.

        Raises: what `send_text` raises.
        """
        body = file_fields(address_or_phone, data_uri, filename, caption, quoted_id)
        return self._send(server_url, session, routes.SEND_FILE, body)

    def send_voice(
        self, server_url: str, session: str, address_or_phone: str, data_uri: str, quoted_id: str | None = None
    ) -> SentMessage:
        """Send a voice note, `data:audio/ogg;base64,…` with opus inside.

        Raises: what `send_text` raises.
        """
        body = {"isGroup": False, **recipient_fields(address_or_phone), "base64Ptt": data_uri}
        return self._send(server_url, session, routes.SEND_VOICE, body | quote_fields(quoted_id))

    def send_sticker(
        self, server_url: str, session: str, address_or_phone: str, data_uri: str, moving: bool = False
    ) -> SentMessage:
        """Send a picture as a sticker; one that is `moving` is a GIF or WebP of at most 512 pixels a side.

        Read from the server's and its library's source, not measured: the field is called `path` and takes a `data:`
        URI as well; `send-sticker` keeps the first picture only, and `send-sticker-gif` all.

        Raises: what `send_text` raises.
        """
        body = {"isGroup": False, **recipient_fields(address_or_phone), "path": data_uri}
        route = routes.SEND_MOVING_STICKER if moving else routes.SEND_STICKER
        return self._send(server_url, session, route, body)

    def send_location(
        self, server_url: str, session: str, address_or_phone: str, lat: float, lng: float, title: str, address: str
    ) -> SentMessage:
        """Send a place, in degrees.

        Raises: what `send_text` raises.
        """
        body = {
            "isGroup": False,
            **recipient_fields(address_or_phone),
            "lat": str(lat),
            "lng": str(lng),
            "title": title,
            "address": address,
        }
        return self._send(server_url, session, routes.SEND_LOCATION, body)

    def send_contact(
        self, server_url: str, session: str, address_or_phone: str, contact_phone: str, name: str
    ) -> SentMessage:
        """Send a contact's card; `contact_phone` is digits.

        A `@lid` as short as a phone would reach the stranger whose phone that is (measured): the card goes to the phone
        behind it, and nowhere (WppRefused) where the server does not know that.

        Raises: what `send_text` raises.
        """
        to = self._card_recipient(server_url, session, address_or_phone)
        body = {"isGroup": False, **recipient_fields(to), "name": name}
        body |= {"contactsId": [f"{phone_digits(contact_phone)}@c.us"]}
        return self._send(server_url, session, routes.SEND_CONTACT, body)

    def _card_recipient(self, server_url: str, session: str, address: str) -> str:
        if not address.endswith("@lid") or len(address.removesuffix("@lid")) > MAX_DIGITS:
            return address
        phone = self.identify(server_url, session, address).phone
        if phone is None:
            raise errors.WppRefused("contact-vcard: a short @lid without a phone, nothing was sent")
        return phone

    def _send(self, server_url: str, session: str, route: Route, body: Mapping[str, Any]) -> SentMessage:
        return self._call(server_url, session, route, responses.parse_sent_message, body=body)

    def get_messages(
        self, server_url: str, session: str, phone: str, count: int = 20, before_id: str | None = None
    ) -> list[ChatMessage]:
        """The last `count` messages of a chat (digits, `…@c.us`, `…@lid`), those before `before_id` if given, under
        whichever of their addresses WhatsApp has it: the messages' ids may name the other one.

        Notices and what has no id are left out.

        Raises: InvalidPhone, WppChatNotFound, WppError.
        """
        chat = recipient_fields(phone)
        tail = f"{chat['phone']}@lid" if "isLid" in chat else phone if "isGroup" in chat else chat["phone"]
        return self._chat_of(server_url, session, tail, count, before_id, responses.parse_chat_messages)[1]

    def read_chat(
        self, server_url: str, session: str, chat: str, count: int, before_id: str | None = None
    ) -> HistoryPage:
        """A page of what the webhooks told, or should have told, of a chat: its newest `count` messages, or those
        before `before_id`. `chat` is an address as `list_chats` gives it; the page tells under which one of the same
        person it was found, and there the next page is to be asked for.

        Raises: InvalidInput, WppChatNotFound, WppError.
        """
        if not _CHAT_ADDRESS.fullmatch(chat):
            raise InvalidInput("not the address of a chat")
        found, page = self._chat_of(server_url, session, chat, count, before_id, responses.parse_history)
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
            return chat, self._call(server_url, session, routes.MESSAGES, parse, tail=chat, params=params)
        except errors.WppChatNotFound:
            other = self._other_address(server_url, session, chat)
            if other is None:
                raise
        return other, self._call(server_url, session, routes.MESSAGES, parse, tail=other, params=params)

    def _other_address(self, server_url: str, session: str, chat: str) -> str | None:
        if get_chat_kind(chat) is not ChatKind.PERSON:
            return None
        known = self.identify(server_url, session, chat)
        if not chat.endswith("@lid"):
            return known.lid
        return f"{known.phone}@c.us" if known.phone else None

    def read_unread(self, server_url: str, session: str) -> list[InboundMessage | Annotation]:
        """The messages of all chats that are not marked as read.

        Raises: WppError.
        """
        return self._call(server_url, session, routes.UNREAD, responses.parse_history).entries

    def get_media(self, server_url: str, session: str, message_id: str) -> tuple[bytes, str | None]:
        """A message's file, and its type where the server says one.

        Raises: WppError, WppRefused where there is none.
        """
        return self._call(server_url, session, routes.MEDIA, responses.parse_media, tail=message_id)

    def react(self, server_url: str, session: str, message_id: str, emoji: str) -> None:
        """React to a message; an empty `emoji` takes the reaction back: `false` does.

        Raises: WppError.
        """
        body = {"msgId": message_id, "reaction": emoji or False}
        self._call(server_url, session, routes.REACT, responses.is_success, body=body)

    def list_chats(self, server_url: str, session: str) -> list[Chat]:
        """The session's chats; those without an id are left out.

        Raises: WppError.
        """
        return self._call(server_url, session, routes.CHATS, responses.parse_chats, body={})

    def all_contacts(self, server_url: str, session: str) -> list[Contact]:
        """The phone's address book; who has no id is left out.

        Raises: WppError.
        """
        return self._call(server_url, session, routes.CONTACTS, responses.parse_contacts)

    # The server itself

    def uptime(self, server_url: str) -> float:
        """Seconds since the server's start.

        Raises: WppError, also where a proxy keeps `healthz` to itself.
        """
        return self._call(server_url, "", routes.HEALTH, responses.parse_uptime)

    def accepts_secret(self, server_url: str, session: str, secret: str) -> bool:
        """Whether the server takes a token made with `secret` instead of its own.

        Raises: WppError.
        """
        try:
            self._call(server_url, session, routes.STATUS, responses.parse_session_state, secret=secret)
        except errors.WppUnauthorized:
            return False
        return True

    def lets_unhealthy_through(self, server_url: str) -> bool:
        """Whether who asks from here for `/unhealthy` reaches the server, which would end it.

        It is asked by POST, which harms nothing: the server's source routes only GET there, and Express says so in its
        own words, which a proxy that blocks the path does not know.

        Raises: WppError where nobody answers.
        """
        return self._call(server_url, "", routes.UNHEALTHY, responses.is_refused_by_express)

    def lets_clear_through(self, server_url: str) -> bool:
        """Whether who asks from here for `clear-session-data` reaches the server.

        It is asked by GET, as `/unhealthy` by POST: the server's source routes only POST there. What a wrong secret
        would do is not tried: the answer is the same 400 whether the server acts or not, so that only its version
        tells, and another version may end its process by answering one request twice.

        Raises: WppError where nobody answers.
        """
        return self._call(server_url, "", routes.CLEAR_ASKED, responses.is_refused_by_express)

    def socket_is_open(self, server_url: str) -> bool:
        """Whether socket.io lets anybody in who does not say who they are: it tells every session's QR codes and
        messages to all. By long polling: open, join, look, leave.

        Raises: WppError where nobody answers.
        """
        engine = {"EIO": "4", "transport": "polling"}
        opened = self._call(server_url, "", routes.SOCKET, responses.parse_socket_id, params=engine)
        if opened is None:
            return False
        own = {**engine, "sid": opened}
        self._call(server_url, "", routes.SOCKET_SEND, responses.is_success, params=own, text="40")
        joined = self._call(server_url, "", routes.SOCKET, responses.is_socket_joined, params=own)
        with contextlib.suppress(errors.WppError):  # it would also be closed for its silence
            self._call(server_url, "", routes.SOCKET_SEND, responses.is_success, params=own, text="1")
        return joined

    # One call
