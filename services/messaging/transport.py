"""How each kind of content leaves, and how it is known again in a chat. What an error means is decided above."""

import base64
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from services.db.actor import SYSTEM
from services.errors import NotFound
from services.messaging.file_types import is_animated_webp
from services.platform import media_store
from services.wppconnect.results import ChatMessage, SentMessage
from services.wppconnect.shared import get_client

# The phone's clock and ours may differ; a message in the chat counts as ours from this long before we sent it.
CLOCK_SKEW = timedelta(seconds=30)
# A call that was cut off reaches WhatsApp within this long, or never; a later twin in the chat is another message.
LATEST_ARRIVAL = timedelta(minutes=2)


class OutboundMessage(Protocol):
    """What a message carries, and through which session."""

    @property
    def user_id(self) -> UUID: ...
    @property
    def session_name(self) -> str: ...
    @property
    def server_url(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def media_sha256(self) -> bytes | None: ...
    @property
    def mimetype(self) -> str | None: ...
    @property
    def filename(self) -> str | None: ...
    @property
    def detail(self) -> Mapping[str, Any]: ...
    @property
    def quoted_wpp_id(self) -> str | None: ...


def send(message: OutboundMessage, address: str) -> SentMessage:
    """Hand the message to its server.

    Raises: as the client does, and NotFound or MediaUnavailable before anything left where its file cannot be read.
    """
    to = (message.server_url, message.session_name, address)
    quoted = message.quoted_wpp_id
    match message.kind:
        case "chat":
            return get_client().send_text(*to, message.body, quoted)
        case "image":
            return get_client().send_image(
                *to, _data_uri(message, _read_file(message)), _filename(message), message.body, quoted
            )
        case "video" | "audio" | "document":
            return get_client().send_file(
                *to, _data_uri(message, _read_file(message)), _filename(message), message.body, quoted
            )
        case "ptt":
            return get_client().send_voice(*to, _data_uri(message, _read_file(message)), quoted)
        case "sticker":
            file = _read_file(message)
            return get_client().send_sticker(*to, _data_uri(message, file), moving=is_animated_webp(file))
        case "location":
            place = message.detail
            return get_client().send_location(
                *to, float(place["lat"]), float(place["lng"]), place.get("title") or "", place.get("address") or ""
            )
        case "vcard":
            return get_client().send_contact(*to, str(message.detail["phone"]), str(message.detail["name"]))
    raise NotFound(f"no way to send a {message.kind}")


def could_be(candidate: ChatMessage, message: OutboundMessage, sending_at: datetime) -> bool:
    """Whether a message of the chat can be this message: ours, of its time, and of the same content as far as it tells.

    WhatsApp re-encodes files, so a file is told by its kind, its caption and, for a document, its name.
    """
    if candidate.timestamp is None or not candidate.from_me:
        return False
    earliest, latest = (sending_at - CLOCK_SKEW).timestamp(), (sending_at + LATEST_ARRIVAL).timestamp()
    return earliest <= candidate.timestamp <= latest and _same_content(candidate, message)


def _same_content(candidate: ChatMessage, message: OutboundMessage) -> bool:
    match message.kind:
        case "chat":
            return candidate.type == "chat" and candidate.body == message.body
        case "location":
            return (
                candidate.type == "location"
                and _near(candidate.lat, message.detail.get("lat"))
                and _near(candidate.lng, message.detail.get("lng"))
            )
        case "vcard":
            return candidate.type == "vcard" and str(message.detail.get("phone")) in candidate.body.replace(" ", "")
        case "document":
            same_name = candidate.filename in (None, "", _filename(message))
            return (
                candidate.type == "document"
                and same_name
                and (candidate.caption or "")
                in (
                    message.body,
                    _filename(message),
                )
            )
        case "ptt" | "audio":
            return candidate.type in ("ptt", "audio")
        case "sticker":
            return candidate.type == "sticker"
    return candidate.type == message.kind and (candidate.caption or "") == message.body


def _near(found: float | None, sent: object) -> bool:
    return found is not None and isinstance(sent, int | float | str) and abs(found - float(sent)) < 1e-4


def _read_file(message: OutboundMessage) -> bytes:
    if message.media_sha256 is None:
        raise NotFound("its file is gone")
    return media_store.read(SYSTEM, message.media_sha256, message.user_id)


def _data_uri(message: OutboundMessage, file: bytes) -> str:
    return f"data:{message.mimetype or 'application/octet-stream'};base64,{base64.b64encode(file).decode()}"


def _filename(message: OutboundMessage) -> str:
    return message.filename or "arquivo"
