"""What a type of message has beyond text and file: a place, contact cards, a poll, a length, an order, …"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from services.wppconnect import business_details, payload_fields, vcards

MAX_OPTIONS = 64


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


def _read_poll(payload: Mapping[str, Any]) -> dict[str, Any]:
    whole = business_details.get_first_mapping(payload, "pollCreationMessage", "pollCreationMessageV3", "poll")
    name = (
        payload_fields.text(payload.get("pollName"))
        or payload_fields.text(whole.get("name"))
        or payload_fields.text(payload.get("body"))
    )
    return {"name": name, "options": read_options(payload.get("pollOptions")) or read_options(whole.get("options"))}


def read_options(found: Any) -> list[str]:
    """Reads the names of a poll's options, from up to `MAX_OPTIONS` of them; empty where `found` is no list."""
    named = (_get_option_name(one) for one in payload_fields.items(found, MAX_OPTIONS))
    return [name for name in named if name]


def _get_option_name(option: Any) -> str | None:
    if isinstance(option, str):
        return payload_fields.text(option)
    fields = payload_fields.mapping(option)
    return payload_fields.text(fields.get("name")) or payload_fields.text(fields.get("optionName"))


def _read_length(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"seconds": payload_fields.number(payload.get("duration"))}


_DETAIL_READERS: Final[dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "location": _read_location,
    "vcard": vcards.read_card,
    "multi_vcard": vcards.read_cards,
    "poll_creation": _read_poll,
    "audio": _read_length,
    "ptt": _read_length,
    "video": _read_length,
    "product": business_details.read_product,
    "order": business_details.read_order,
    "list": business_details.read_list,
    "list_response": business_details.read_choice,
    "buttons_response": business_details.read_choice,
    "template_button_reply": business_details.read_choice,
    "interactive": business_details.read_interactive,
    "groups_v4_invite": business_details.read_invitation,
    "event_creation": business_details.read_event,
}
