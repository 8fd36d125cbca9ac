"""What a message of each kind says, in words: an order's items and sum, contact cards, what was chosen, …"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from services.wppconnect.phone import format_phone
from ui.inbound.message_words import message_kind_word
from ui.kit import dates, quantities
from ui.kit.i18n import _

Detail = Mapping[str, Any]
# Of these, `describe_detail` says everything; a text that repeats it is not shown again.
DETAIL_KINDS: Final = frozenset(
    {"location", "vcard", "multi_vcard", "poll_creation", "call", "product", "order", "groups_v4_invite",
     "event_creation", "list", "list_response", "buttons_response", "template_button_reply"}
)  # fmt: skip


def describe_detail(kind: str, body: str, detail: Detail, votes: Mapping[str, int]) -> str:
    """The text of a message of one of `DETAIL_KINDS`; a line for each thing that it says."""
    return "\n".join(line for line in _READERS[kind](body, detail, votes) if line) or message_kind_word(kind)


def _describe_location(_body: str, detail: Detail, _votes: Mapping[str, int]) -> list[str]:
    return [detail.get("title") or "", detail.get("address") or ""]


def _describe_cards(_body: str, detail: Detail, _votes: Mapping[str, int]) -> list[str]:
    return [_describe_card(one) for one in detail.get("contacts") or [detail]]


def _describe_card(card: Detail) -> str:
    phones = card.get("phones") or [card.get("phone")]
    parts = [card.get("name"), *(_write_phone(str(one)) for one in phones if one)]
    return " · ".join(part for part in parts if part)


def _write_phone(written: str) -> str:
    digits = "".join(filter(str.isdecimal, written))
    return format_phone(digits) if written.startswith("+") and digits else written


def _describe_poll(_body: str, detail: Detail, votes: Mapping[str, int]) -> list[str]:
    options = [f"• {option}: {votes.get(option, 0)}" for option in detail.get("options", ())]
    return [detail.get("name") or message_kind_word("poll_creation"), *options]


def _describe_call(_body: str, detail: Detail, _votes: Mapping[str, int]) -> list[str]:
    return [_("Chamada de vídeo") if detail.get("video") else _("Chamada de voz")]


def _describe_product(body: str, detail: Detail, _votes: Mapping[str, int]) -> list[str]:
    title = detail.get("title") or ""
    parts = [title, _money(detail.get("price"), detail.get("currency"))]
    said = ", ".join(part for part in parts if part)
    return [_("Produto: {what}").format(what=said) if said else "", body.removeprefix(title).strip()]


def _describe_order(body: str, detail: Detail, _votes: Mapping[str, int]) -> list[str]:
    count, currency = detail.get("count"), detail.get("currency")
    counted = "" if count is None else _("1 item") if count == 1 else _("{n} itens").format(n=count)
    parts = [counted, _money(detail.get("total"), currency)]
    said = ", ".join(part for part in parts if part)
    items = [_describe_item(one, currency) for one in detail.get("items", ())]
    return [_("Pedido: {what}").format(what=said) if said else _("Pedido"), *items, body]


def _describe_item(item: Detail, currency: str | None) -> str:
    amount = f"{item['quantity']} × " if item.get("quantity") else ""
    return ", ".join(part for part in (f"• {amount}{item['name']}", _money(item.get("price"), currency)) if part)


def _money(thousandths: int | None, currency: str | None) -> str:
    return "" if thousandths is None else quantities.money(thousandths, currency)


def _describe_invitation(body: str, detail: Detail, _votes: Mapping[str, int]) -> list[str]:
    name = detail.get("name")
    return [_("Convite para o grupo: {name}").format(name=name) if name else _("Convite para um grupo"), body]


def _describe_event(_body: str, detail: Detail, _votes: Mapping[str, int]) -> list[str]:
    name = detail.get("name") or _("sem nome")
    called = _("Evento cancelado: {name}") if detail.get("canceled") else _("Evento: {name}")
    return [
        called.format(name=name),
        _moment(detail.get("starts_at")),
        detail.get("place") or "",
        detail.get("description") or "",
    ]


def _moment(seconds: int | None) -> str:
    return dates.full_time(datetime.fromtimestamp(seconds, UTC)) if seconds else ""


def _describe_list(body: str, detail: Detail, _votes: Mapping[str, int]) -> list[str]:
    return [body, *(f"• {option}" for option in detail.get("options", ()))]


def _describe_choice(body: str, _detail: Detail, _votes: Mapping[str, int]) -> list[str]:
    return [_("Escolheu: {what}").format(what=body) if body else ""]


_READERS: Final[dict[str, Callable[[str, Detail, Mapping[str, int]], list[str]]]] = {
    "location": _describe_location,
    "vcard": _describe_cards,
    "multi_vcard": _describe_cards,
    "poll_creation": _describe_poll,
    "call": _describe_call,
    "product": _describe_product,
    "order": _describe_order,
    "groups_v4_invite": _describe_invitation,
    "event_creation": _describe_event,
    "list": _describe_list,
    "list_response": _describe_choice,
    "buttons_response": _describe_choice,
    "template_button_reply": _describe_choice,
}


def describe_buttons(detail: Detail) -> str:
    """The buttons below a message, as a line; empty where it has none."""
    buttons = detail.get("buttons") or ()
    return _("Botões: {which}").format(which=" · ".join(buttons)) if buttons else ""


def view_once_words(kind: str) -> str:
    """What is said in the place of something that can be opened once, on the phone alone."""
    words = {
        "image": _("Foto de visualização única: abra no celular"),
        "video": _("Vídeo de visualização única: abra no celular"),
        "ptt": _("Mensagem de voz de visualização única: abra no celular"),
        "audio": _("Mensagem de voz de visualização única: abra no celular"),
    }
    return words.get(kind, message_kind_word("view_once"))
