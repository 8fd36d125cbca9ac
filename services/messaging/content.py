"""What can be sent: a text, a file with a caption, a place or a contact card."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from services.errors import N_, InvalidInput
from services.platform.media_store import Media

# WhatsApp itself takes 65,536 characters; a text of this length still reads on a phone and fits every client.
TEXT_LIMIT = 4096
KEY_LIMIT = 200


class EmptyMessage(InvalidInput):
    code = "mensagem_vazia"
    message = N_("A mensagem está vazia.")
    hint = N_("Escreva o texto antes de enviar.")


class MessageTooLong(InvalidInput):
    code = "mensagem_longa"
    message = N_("A mensagem passa de {limit} caracteres.")
    hint = N_("Encurte o texto ou divida-o em duas mensagens.")


class Kind(StrEnum):
    """What a message carries, in WhatsApp's own words. One that comes in may be of a kind that is not listed here."""

    TEXT = "chat"
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    VOICE = "ptt"
    DOCUMENT = "document"
    STICKER = "sticker"
    LOCATION = "location"  # detail: lat, lng, title, address
    CONTACT = "vcard"  # detail: name, phone


# Kinds that are nothing without a file, and those whose meaning is in `detail`.
WITH_FILE = (Kind.IMAGE, Kind.VIDEO, Kind.AUDIO, Kind.VOICE, Kind.DOCUMENT, Kind.STICKER)
WITH_DETAIL = (Kind.LOCATION, Kind.CONTACT)


@dataclass(frozen=True)
class Content:
    """What is to be sent: a text, a file (`media`, already kept for the sender) with a caption, or a `detail`."""

    kind: Kind = Kind.TEXT
    body: str = field(default="", repr=False)
    media: Media | None = None
    filename: str | None = field(default=None, repr=False)
    detail: Mapping[str, Any] = field(default_factory=dict, repr=False)
    quoted_wpp_id: str | None = None


@dataclass(frozen=True)
class Origin:
    """What a message was made from, so that it can be told later. `cold`: a campaign's, to somebody who does not know
    the sender.
    """

    template_id: UUID | None = None
    template_version: int | None = None
    schedule_id: UUID | None = None
    campaign_id: UUID | None = None
    cold: bool = False


def check_content(content: str | Content, idempotency_key: str) -> Content:
    """Checks a message before it is queued, and returns it with its text stripped.

    Raises: EmptyMessage, MessageTooLong; InvalidInput for a NUL in the text or a key without 1 to 200 characters.
    """
    if isinstance(content, str):
        content = Content(body=content)
    body = content.body.strip()
    if content.kind is Kind.TEXT and not body:
        raise EmptyMessage("empty text")
    if (content.kind in WITH_FILE and content.media is None) or (content.kind in WITH_DETAIL and not content.detail):
        raise EmptyMessage(f"{content.kind} without what it is about")
    if len(body) > TEXT_LIMIT:
        raise MessageTooLong(f"{len(body)} characters", limit=TEXT_LIMIT)
    if "\x00" in body or not 0 < len(idempotency_key) <= KEY_LIMIT:
        raise InvalidInput("NUL in the text, or an idempotency key of no or over 200 characters")
    return replace(content, body=body)
