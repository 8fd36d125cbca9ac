"""What a kind of message has beyond text and file: a place, contact cards, a poll, a length."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from services.wppconnect import payload_fields

MAX_OPTIONS = 64
MAX_CARDS = 64


def get_detail(type_: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Reads what a message of type `type_` has beyond text and file; empty for types that have nothing more."""
    read = _DETAIL_READERS.get(type_)
    return {key: value for key, value in read(payload).items() if value is not None} if read else {}


def _read_location(payload: Mapping[str, Any]) -> dict[str, Any]:
    title, _, address = (payload_fields.text(payload.get("loc")) or "").partition("\n")
    return {
        "lat": payload_fields.degrees(payload.get("lat")),
        "lng": payload_fields.degrees(payload.get("lng")),
        "title": title or None,
        "address": address or None,
    }


def _read_card(payload: Mapping[str, Any]) -> dict[str, Any]:
    card = payload_fields.text(payload.get("body")) or payload_fields.text(payload.get("vcard")) or ""
    name = payload_fields.text(payload.get("vcardFormattedName")) or payload_fields.text(payload.get("displayName"))
    return {"name": name or _get_card_value(card, "FN"), "phone": _get_card_value(card, "TEL")}


def _get_card_value(card: str, wanted: str) -> str | None:
    """The first value of a vCard's property (RFC 6350), whatever parameters it has."""
    for line in card.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.split(";")[0].rpartition(".")[2].upper() == wanted:
            return value.strip()
    return None


def _read_cards(payload: Mapping[str, Any]) -> dict[str, Any]:
    found = payload.get("vcardList")
    cards = [_read_card(payload_fields.mapping(one)) for one in found[:MAX_CARDS]] if isinstance(found, list) else []
    return {"contacts": cards}


def _read_poll(payload: Mapping[str, Any]) -> dict[str, Any]:
    name = payload_fields.text(payload.get("pollName")) or payload_fields.text(payload.get("body"))
    return {"name": name, "options": read_options(payload.get("pollOptions"))}


def read_options(found: Any) -> list[str]:
    """Reads the names of a poll's options, from up to `MAX_OPTIONS` of them; empty where `found` is no list."""
    named = (
        (payload_fields.text(payload_fields.mapping(one).get("name")) for one in found[:MAX_OPTIONS])
        if _is_list(found)
        else ()
    )
    return [name for name in named if name]


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _read_length(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"seconds": payload_fields.number(payload.get("duration"))}


_DETAIL_READERS: Final[dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "location": _read_location,
    "vcard": _read_card,
    "multi_vcard": _read_cards,
    "poll_creation": _read_poll,
    "audio": _read_length,
    "ptt": _read_length,
    "video": _read_length,
}
