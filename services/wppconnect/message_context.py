"""What a message stands in: whom it answers, whom it mentions, which album it belongs to, and who wrote it.

Pure, and total: whatever JSON arrives, nothing here raises.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from services.wppconnect import payload_fields
from services.wppconnect.business_details import get_footer, list_buttons
from services.wppconnect.event_keys import MAX_MESSAGE_ID_CHARS, get_message_key, get_own_id
from services.wppconnect.message_texts import get_quoted_text
from services.wppconnect.message_types import get_type, is_view_once

MAX_MENTIONS = 256
MAX_QUOTED_CHARS = 120
# Where one is named, parent messages that are no albums: the same photo in a better quality, a moving one.
_ALBUM_ASSOCIATIONS: Final = frozenset({"media_album", "album"})


class Author(NamedTuple):
    """Who wrote a message to a chat of several people. `phone_id` is the `…@c.us` of a `@lid`, where it is told."""

    address: str | None
    phone_id: str | None


def get_context(type_: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """What a message of any type may have in its `detail` (see `InboundMessage`)."""
    found: dict[str, Any] = {
        "quoted": _read_quoted(payload),
        "mentions": _list_mentions(payload),
        "album": _get_album(type_, payload),
        "buttons": list_buttons(payload),
        "footer": get_footer(payload),
        "view_once": is_view_once(payload),
    }
    return {key: value for key, value in found.items() if value or (key == "quoted" and value is not None)}


# --- what it answers --------------------------------------------------------------------------------------------------


def get_quoted_id(payload: Mapping[str, Any]) -> str | None:
    """The whole id of the message that this one answers, else its stanza id. Who wrote it cannot be told from the
    parts: the same person has several addresses."""
    whole = payload_fields.identifier(payload.get("quotedMsgId"))
    if whole is None:
        stanza = payload_fields.text(payload.get("quotedStanzaID")) or payload_fields.text(
            payload.get("quotedStanzaId")
        )
        # The server's own ids have `_out` behind them.
        whole = (stanza or "").partition("_")[0] or None
    if whole is None:
        whole = get_own_id(_get_quoted(payload))
    return whole if whole and len(whole) <= MAX_MESSAGE_ID_CHARS else None


def get_quoted_author(payload: Mapping[str, Any]) -> str | None:
    """The address of who wrote the message that this one answers."""
    quoted = _get_quoted(payload)
    return (
        payload_fields.identifier(payload.get("quotedParticipant"))
        or payload_fields.identifier(quoted.get("author"))
        or payload_fields.identifier(quoted.get("from"))
    )


def _get_quoted(payload: Mapping[str, Any]) -> Mapping[Any, Any]:
    return payload_fields.mapping(payload.get("quotedMsg")) or payload_fields.mapping(payload.get("quotedMsgObj"))


def _read_quoted(payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the event itself tells of the message that it answers; empty where that is nothing."""
    quoted = _get_quoted(payload)
    if not quoted and get_quoted_id(payload) is None:
        return None
    text = " ".join(get_quoted_text(quoted).split())[:MAX_QUOTED_CHARS] if quoted else ""
    kind = get_type(quoted) if quoted.get("type") is not None else "chat" if text else None
    found = {"kind": kind, "text": text or None, "author": get_quoted_author(payload)}
    return {key: value for key, value in found.items() if value is not None}


# --- whom it mentions, and its album ----------------------------------------------------------------------------------


def _list_mentions(payload: Mapping[str, Any]) -> list[str]:
    listed = payload_fields.items(payload.get("mentionedJidList"), MAX_MENTIONS)
    addresses = (payload_fields.identifier(one) for one in listed)
    return list(dict.fromkeys(one for one in addresses if one))


def _get_album(type_: str, payload: Mapping[str, Any]) -> str | None:
    """The key of the album's head (`get_message_key`), which all names of one album have in common."""
    association = payload_fields.text(payload.get("associationType"))
    if type_ not in ("image", "video") or (association and association.lower() not in _ALBUM_ASSOCIATIONS):
        return None
    parent = payload_fields.identifier(payload.get("parentMsgKey")) or payload_fields.identifier(
        payload.get("parentMsgId")
    )
    return get_message_key(parent) if parent and len(parent) <= MAX_MESSAGE_ID_CHARS else None


# --- who wrote it -----------------------------------------------------------------------------------------------------


def get_author(payload: Mapping[str, Any], chat_id: str, message_id: str) -> Author:
    """Who wrote a message to `chat_id`, by the address that its author, its sender or the end of its id tells."""
    sender = payload_fields.mapping(payload.get("sender"))
    parts = message_id.split("_")
    offered = (
        payload_fields.identifier(payload.get("author")),
        payload_fields.identifier(payload.get("participant")),
        payload_fields.identifier(sender.get("id")),
        parts[3] if len(parts) > 3 and "@" in parts[3] else None,
    )
    named = [one for one in offered if one and one != chat_id]
    if not named:
        return Author(None, None)
    phones = (*named, payload_fields.identifier(sender.get("phoneNumber")))
    is_lid = named[0].endswith("@lid")
    return Author(named[0], next((one for one in phones if one and one.endswith("@c.us")), None) if is_lid else None)
