"""Messages of shops and programs: products, orders, lists, buttons and their answers, templates, invitations, events.

For each of them: what it has beyond its text (`read_…`, the message's `detail`), and its text (`get_…_text`): what
was written or chosen, so that searches, rules and opt-out words find it. Pure, and total: nothing here raises.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from services.wppconnect import payload_fields
from services.wppconnect.message_types import get_body

MAX_ENTRIES = 64
MAX_PARAMS_CHARS = 64 * 1024
MAX_FORM_FIELDS = 16
MAX_ANSWER_DEPTH = 3
# An answer's own words, the likeliest first; then what its program calls it.
_CHOICE_WORDS: Final = ("display_text", "displayText", "selectedDisplayText", "title", "text", "description")
_CHOICE_IDS: Final = ("id", "selectedId", "selected_id", "selectedRowId", "selected_row_id", "selectedButtonId")
# What a form's answer has for its program alone.
_FORM_INTERNALS: Final = ("flow_token", "wa_flow_response_params", "flow_id", "flow_message_version")

Payload = Mapping[str, Any]


def get_first_mapping(payload: Payload, *names: str) -> Mapping[Any, Any]:
    """The first of these fields that is an object with something in it, else an empty one."""
    found = (payload_fields.mapping(payload.get(name)) for name in names)
    return next((one for one in found if one), {})


def _first_text(payload: Mapping[Any, Any], names: Iterable[str]) -> str:
    found = (payload_fields.text(payload.get(name)) for name in names)
    return next((one.strip() for one in found if one and one.strip()), "")


def _join(*parts: str) -> str:
    """The parts that say something, each once, a line each."""
    return "\n".join(dict.fromkeys(part for part in parts if part))


# --- products and orders ----------------------------------------------------------------------------------------------


def read_product(payload: Payload) -> dict[str, Any]:
    """A product's `title`, its `price` in thousandths of `currency`, and its page's `url`."""
    product = get_first_mapping(payload, "product", "productMessage") or payload
    price = payload_fields.number(product.get("salePriceAmount1000")) or payload_fields.number(
        product.get("priceAmount1000")
    )
    return {
        "title": _first_text(product, ("title", "name")) or None,
        "price": price,
        "currency": _first_text(product, ("currencyCode", "currency")) or None,
        "url": _first_text(product, ("url",)) or None,
    }


def get_product_text(payload: Payload) -> str:
    """A product's title, and what was written with it."""
    product = get_first_mapping(payload, "product", "productMessage") or payload
    return _join(_first_text(product, ("title", "name")), _first_text(payload, ("caption",)))


def read_order(payload: Payload) -> dict[str, Any]:
    """An order's `title`, the `count` of its items, their sum (`total`, in thousandths of `currency`), and those
    `items` that the event names: {name, quantity, price}."""
    order = get_first_mapping(payload, "order", "orderMessage")
    count = payload_fields.number(payload.get("itemCount"))
    total = payload_fields.number(payload.get("totalAmount1000"))
    listed = payload_fields.items(payload.get("products") or payload.get("items") or order.get("products"), MAX_ENTRIES)
    items = [item for one in listed if (item := _read_order_item(payload_fields.mapping(one)))]
    return {
        "order_id": _first_text(payload, ("orderId",)) or None,
        "title": _first_text(payload, ("orderTitle",)) or None,
        "count": payload_fields.number(order.get("itemCount")) if count is None else count,
        "total": payload_fields.number(order.get("totalAmount1000")) if total is None else total,
        "currency": _first_text(payload, ("totalCurrencyCode", "currencyCode", "currency"))
        or _first_text(order, ("totalCurrencyCode",))
        or None,
        "items": items or None,
    }


def _read_order_item(product: Mapping[Any, Any]) -> dict[str, Any]:
    price = payload_fields.number(product.get("priceAmount1000"))
    fields = {
        "name": _first_text(product, ("name", "title")) or None,
        "quantity": payload_fields.number(product.get("quantity")),
        "price": price if price is not None else payload_fields.number(product.get("price")),
    }
    return {key: value for key, value in fields.items() if value is not None} if fields["name"] else {}


def get_order_text(payload: Payload) -> str:
    """What was written with an order."""
    return _first_text(payload, ("message", "caption"))


# --- lists, buttons, templates ----------------------------------------------------------------------------------------


def read_list(payload: Payload) -> dict[str, Any]:
    """The `options` of a list that can be chosen from."""
    return {"options": _list_rows(get_first_mapping(payload, "list", "listMessage")) or None}


def get_list_text(payload: Payload) -> str:
    """The title and the words of a list that can be chosen from."""
    offered = get_first_mapping(payload, "list", "listMessage")
    return _join(
        _first_text(offered, ("title",)),
        _first_text(offered, ("description",)) or get_body("list", payload),
        _first_text(offered, ("footerText",)),
    )


def _list_rows(offered: Mapping[Any, Any]) -> list[str]:
    sections = payload_fields.items(offered.get("sections"), MAX_ENTRIES)
    rows = (
        _first_text(payload_fields.mapping(row), ("title",))
        for section in sections
        for row in payload_fields.items(payload_fields.mapping(section).get("rows"), MAX_ENTRIES)
    )
    return [row for row in rows if row][:MAX_ENTRIES]


def list_buttons(payload: Payload) -> list[str]:
    """The texts of the buttons below a message, whichever of WhatsApp's forms they have."""
    flow = get_first_mapping(payload, "nativeFlow", "nativeFlowMessage", "interactivePayload", "interactiveMessage")
    forms = (payload.get(name) for name in ("hydratedButtons", "buttons", "dynamicReplyButtons", "replyButtons"))
    found = [
        one
        for form in (*forms, flow.get("buttons"), payload_fields.mapping(flow.get("nativeFlowMessage")).get("buttons"))
        for one in payload_fields.items(form, MAX_ENTRIES)
    ]
    texts = (_get_button_text(payload_fields.mapping(one)) for one in found)
    return list(dict.fromkeys(text for text in texts if text))[:MAX_ENTRIES]


def _get_button_text(button: Mapping[Any, Any]) -> str:
    inner = get_first_mapping(button, "quickReplyButton", "urlButton", "callButton", "buttonText")
    params = _parse_params(button.get("buttonParamsJson"))
    return _first_text(inner, _CHOICE_WORDS) or _first_text(button, _CHOICE_WORDS) or _first_text(params, _CHOICE_WORDS)


def get_template_text(payload: Payload) -> str:
    """The title and the words of a template, as they were filled in."""
    hydrated = get_first_mapping(payload, "hydratedTemplate", "templateMessage")
    return _join(
        _first_text(payload, ("hydratedTitleText", "title")) or _first_text(hydrated, ("hydratedTitleText",)),
        _first_text(payload, ("hydratedContentText", "caption"))
        or _first_text(hydrated, ("hydratedContentText",))
        or get_body("hsm", payload).strip(),
    )


def get_footer(payload: Payload) -> str | None:
    """The small print below a message."""
    footer = get_first_mapping(payload, "interactiveFooter", "footerMessage")
    return (
        _first_text(payload, ("hydratedFooterText", "footer", "footerText")) or _first_text(footer, ("text",)) or None
    )


# --- what somebody chose ----------------------------------------------------------------------------------------------


def read_choice(payload: Payload) -> dict[str, Any]:
    """`chosen_id`: what the program that offered it calls what was chosen."""
    own = _first_text(payload, ("selectedRowId", "selectedButtonId", "selectedId"))
    return {"chosen_id": own or _first_of(_list_answers(payload), _CHOICE_IDS) or None}


def get_choice_text(type_: str, payload: Payload) -> str:
    """What was chosen, in the words that stood on it; else what its program calls it."""
    title = _first_of(_list_answers(payload), _CHOICE_WORDS)
    written = _first_text(payload, ("selectedDisplayText",)) or get_body(type_, payload).strip()
    # The body of a choice from a list has its explanation behind it.
    words = (title, written) if type_ == "list_response" else (written, title)
    return next((one for one in words if one), "") or read_choice(payload)["chosen_id"] or ""


def _list_answers(payload: Payload) -> list[Mapping[Any, Any]]:
    """The objects within a message in which an answer may stand."""
    places: list[Mapping[Any, Any]] = []
    names = ("listResponse", "listResponseMessage", "buttonsResponse", "buttonsResponseMessage", "buttonReply",
             "templateButtonReply", "templateButtonReplyMessage", "listReply")  # fmt: skip
    for name in names:
        found = payload_fields.mapping(payload.get(name))
        places += (found, payload_fields.mapping(found.get("singleSelectReply")))
    return places


def _first_of(places: Iterable[Mapping[Any, Any]], names: Iterable[str]) -> str:
    return next((found for one in places if (found := _first_text(one, names))), "")


# --- interactive messages and their answers ---------------------------------------------------------------------------


def read_interactive(payload: Payload) -> dict[str, Any]:
    """`title` of an interactive message; `chosen_id` and the `form` that was filled in, {field: value}, of an
    answer."""
    params = _get_answer_params(payload)
    form = {
        str(payload_fields.text(key)): value
        for key, found in list(params.items())[: MAX_FORM_FIELDS + len(_FORM_INTERNALS)]
        if key not in (*_CHOICE_WORDS, *_CHOICE_IDS, *_FORM_INTERNALS, "response_json")
        and (value := _get_plain_value(found))
    }
    return {
        "title": _get_header(payload) or None,
        "chosen_id": _first_text(params, _CHOICE_IDS) or read_choice(payload)["chosen_id"],
        "form": form or None,
    }


def get_interactive_text(payload: Payload) -> str:
    """What was chosen, where it is an answer; else what an interactive message says."""
    chosen = _first_text(_get_answer_params(payload), _CHOICE_WORDS)
    written = get_body("interactive", payload).strip() or _get_interactive_body(payload)
    detail = read_interactive(payload)
    if chosen or detail["chosen_id"]:
        return chosen or written or str(detail["chosen_id"])
    filled = "\n".join(f"{name}: {value}" for name, value in (detail["form"] or {}).items())
    return _join(_get_header(payload), written, filled)


def _get_header(payload: Payload) -> str:
    header = get_first_mapping(payload, "interactiveHeader", "header")
    return _first_text(header, ("title", "text"))


def _get_interactive_body(payload: Payload) -> str:
    """The text of an interactive message or answer, where it stands within an object."""
    outer = get_first_mapping(payload, "interactiveResponseMessage", "interactiveResponse", "interactiveMessage")
    found = get_first_mapping(payload, "interactiveBody", "body") or payload_fields.mapping(outer.get("body"))
    return _first_text(found, ("text",))


def _get_answer_params(payload: Payload) -> Mapping[Any, Any]:
    """What an answer brought with it: WhatsApp keeps it as JSON within JSON."""
    names = ("nativeFlowResponseMessage", "nativeFlowResponse", "nativeFlow", "interactiveResponse")
    outer = get_first_mapping(payload, "interactiveResponseMessage", "interactiveResponse")
    for place in (payload, outer):
        for name in names:
            found = payload_fields.mapping(place.get(name))
            if params := _unpack(_parse_params(_get_params(found))):
                return params
    return _unpack(_parse_params(_get_params(payload)))


def _get_params(place: Mapping[Any, Any]) -> Any:
    return place.get("paramsJson") or place.get("params") or place.get("responseJson")


def _unpack(params: Mapping[Any, Any]) -> Mapping[Any, Any]:
    for _level in range(MAX_ANSWER_DEPTH):
        inner = _parse_params(params.get("response_json"))
        if not inner:
            break
        params = inner
    return params


def _parse_params(written: Any) -> Mapping[Any, Any]:
    if isinstance(written, str) and len(written) <= MAX_PARAMS_CHARS:
        try:
            written = json.loads(written)
        except (ValueError, RecursionError):
            return {}
    return payload_fields.mapping(written)


def _get_plain_value(value: Any) -> str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, list):
        parts = [part for one in value[:MAX_FORM_FIELDS] if (part := payload_fields.text(one))]
        return ", ".join(parts) or None
    return payload_fields.text(value) or None


# --- invitations and events -------------------------------------------------------------------------------------------


def read_invitation(payload: Payload) -> dict[str, Any]:
    """The `name` and the address (`group`) of the group that somebody is invited to, and until when (Unix seconds)."""
    return {
        "name": payload_fields.name(payload.get("inviteGrpName")) or payload_fields.name(payload.get("groupName")),
        "group": payload_fields.identifier(payload.get("inviteGrp")),
        "expires_at": payload_fields.unix_time(payload.get("inviteCodeExp")),
    }


def get_invitation_text(payload: Payload) -> str:
    """What was written with an invitation to a group."""
    return _first_text(payload, ("comment", "caption"))


def read_event(payload: Payload) -> dict[str, Any]:
    """An event's `name`, `description`, `place`, its begin and end (Unix seconds), and whether it was `canceled`."""
    place = get_first_mapping(payload, "eventLocation", "location")
    return {
        "name": _first_text(payload, ("eventName", "name")) or get_body("event_creation", payload) or None,
        "description": _first_text(payload, ("eventDescription", "description")) or None,
        "place": _join(_first_text(place, ("name",)), _first_text(place, ("address",))) or None,
        "starts_at": payload_fields.unix_time(payload.get("eventStartTime")),
        "ends_at": payload_fields.unix_time(payload.get("eventEndTime")),
        "canceled": payload.get("isEventCanceled") is True or None,
    }


def get_event_text(payload: Payload) -> str:
    """An event's name and description."""
    event = read_event(payload)
    return _join(event["name"] or "", event["description"] or "")
