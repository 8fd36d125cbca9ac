"""What a message says in words: what was written, or chosen, whatever its type."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from services.wppconnect import business_details, payload_fields, vcards
from services.wppconnect.message_types import CARD_TYPES, FILE_TYPES, get_body, get_type

_READERS: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "product": business_details.get_product_text,
    "order": business_details.get_order_text,
    "list": business_details.get_list_text,
    "hsm": business_details.get_template_text,
    "interactive": business_details.get_interactive_text,
    "groups_v4_invite": business_details.get_invitation_text,
    "event_creation": business_details.get_event_text,
}
_ANSWER_TYPES: Final = frozenset({"list_response", "buttons_response", "template_button_reply"})


def get_message_body(type_: str, payload: Mapping[str, Any]) -> str:
    """The words of a message of type `type_`; of a file's its base64, a caption is apart."""
    if type_ in _ANSWER_TYPES:
        return business_details.get_choice_text(type_, payload)
    if type_ in CARD_TYPES:
        return _get_card_names(type_, payload)
    read = _READERS.get(type_)
    return read(payload) if read is not None else get_body(type_, payload)


def get_quoted_text(payload: Mapping[str, Any]) -> str:
    """The words of a message that another one quotes, its caption where it is a file's."""
    type_ = get_type(payload)
    if type_ in FILE_TYPES:
        return payload_fields.text(payload.get("caption")) or ""
    return get_message_body(type_, payload) or payload_fields.text(payload.get("caption")) or ""


def _get_card_names(type_: str, payload: Mapping[str, Any]) -> str:
    cards = [vcards.read_card(payload)] if type_ == "vcard" else vcards.read_cards(payload)["contacts"]
    return "\n".join(one["name"] for one in cards if one["name"])
