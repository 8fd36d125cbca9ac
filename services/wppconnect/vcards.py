"""Contact cards: names and numbers out of vCards 2.1, 3.0 and 4.0 (RFC 6350), as phones write them.

Pure, and total: whatever text arrives, nothing here raises.
"""

import quopri
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from services.wppconnect import payload_fields

MAX_CARDS = 64
MAX_NUMBERS = 16
# Pictures make cards long; what people are called and their numbers stand before or after them.
MAX_CARD_CHARS = 256 * 1024
_CARD_BEGIN = re.compile(r"^begin:vcard[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_ESCAPED = re.compile(r"\\([\\,;:nN])")
# What separates the parts of a name, and not an escaped one.
_PART_END = re.compile(r"(?<!\\);")


class _Property(NamedTuple):
    """A line of a card: `ITEM1.TEL;TYPE=work:…`. `params` by their names in upper case, those without one by ''."""

    name: str
    params: Mapping[str, str]
    value: str


def read_card(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The `name`, the first number as `phone` and, where there are several, all `phones` of one contact card."""
    card = payload_fields.text(payload.get("body")) or payload_fields.text(payload.get("vcard")) or ""
    called = payload_fields.name(payload.get("vcardFormattedName")) or payload_fields.name(payload.get("displayName"))
    return _read_card(card, called)


def read_cards(payload: Mapping[str, Any]) -> dict[str, Any]:
    """All `contacts` of a message with several cards, listed or one after the other in its body."""
    listed = payload_fields.items(payload.get("vcardList"), MAX_CARDS)
    if listed:
        return {"contacts": [_read_listed_card(one) for one in listed]}
    written = payload_fields.text(payload.get("body")) or payload_fields.text(payload.get("vcard")) or ""
    return {"contacts": [_read_card(one, None) for one in _CARD_BEGIN.split(written)[1 : MAX_CARDS + 1]]}


def _read_listed_card(found: Any) -> dict[str, Any]:
    return (
        _read_card(payload_fields.storable(found), None)
        if isinstance(found, str)
        else read_card(payload_fields.mapping(found))
    )


def _read_card(card: str, called: str | None) -> dict[str, Any]:
    properties = list(_list_properties(card[:MAX_CARD_CHARS]))
    phones = _list_numbers(properties)
    found: dict[str, Any] = {"name": called or _get_name(properties)}
    if phones:
        found["phone"] = phones[0]
    if len(phones) > 1:
        found["phones"] = phones
    return found


def _get_name(properties: list[_Property]) -> str | None:
    """What a card's person or firm is called."""
    written: dict[str, str] = {}
    for one in properties:
        written.setdefault(one.name, one.value)
    family, given = [*map(_unescape, _PART_END.split(written.get("N", ""))), "", ""][:2]
    offered = (_unescape(written.get("FN", "")), f"{given} {family}", _unescape(written.get("ORG", "")).strip(";"))
    return next((name for one in offered if (name := payload_fields.name(one)) is not None), None)


def _list_numbers(properties: list[_Property]) -> list[str]:
    """A card's numbers as they are written in it, each once."""
    numbers: dict[str, str] = {}
    for one in properties:
        if one.name != "TEL":
            continue
        number = _read_number(one)
        key = re.sub(r"[^0-9]", "", number) or number
        if number and len(numbers) < MAX_NUMBERS:
            numbers.setdefault(key, number)
    return list(numbers.values())


def _read_number(found: _Property) -> str:
    value = _unescape(found.value).strip()
    if value[:4].lower() == "tel:":
        # Behind a number in a URI: its extension, and where a short number belongs.
        value = payload_fields.storable(unquote(value[4:])).partition(";")[0].strip()
    waid = re.sub(r"[^0-9]", "", found.params.get("WAID", ""))
    return value or (f"+{waid}" if waid else "")


def _list_properties(card: str) -> Iterator[_Property]:
    for line in _list_lines(card):
        head, colon, value = _split_at_colon(line)
        if not colon:
            continue
        name, *params = head.split(";")
        found = _read_params(params)
        if "QUOTED-PRINTABLE" in (found.get("ENCODING", "").upper(), found.get("", "").upper()):
            value = _decode_quoted(value, found.get("CHARSET", "utf-8"))
        yield _Property(name.rpartition(".")[2].strip().upper(), found, value)


def _list_lines(card: str) -> Iterator[str]:
    """The lines of a card, folded ones put together (RFC 6350, 3.2), and those of quoted-printable text that end in
    `=` (vCard 2.1)."""
    line = ""
    for written in card.splitlines():
        quoted = line.endswith("=") and "QUOTED-PRINTABLE" in line.partition(":")[0].upper()
        if quoted:
            line = line[:-1] + written
        elif written[:1] in (" ", "\t"):
            line += written[1:]
        else:
            yield line
            line = written
    yield line


def _split_at_colon(line: str) -> tuple[str, bool, str]:
    """A line before and behind its first colon that is not in quotes."""
    quoted = False
    for at, sign in enumerate(line):
        if sign == '"':
            quoted = not quoted
        elif sign == ":" and not quoted:
            return line[:at], True, line[at + 1 :]
    return line, False, ""


def _read_params(written: list[str]) -> dict[str, str]:
    params: dict[str, str] = {}
    for one in written:
        name, given, value = one.partition("=")
        # vCard 2.1 leaves names out: `TEL;CELL;QUOTED-PRINTABLE:…`.
        if given:
            params[name.strip().upper()] = value.strip().strip('"')
        elif name.strip().upper() == "QUOTED-PRINTABLE":
            params[""] = name.strip()
    return params


def _decode_quoted(value: str, charset: str) -> str:
    content = quopri.decodestring(value.encode("utf-8", "replace"))
    try:
        return payload_fields.storable(content.decode(charset, "replace"))
    except (LookupError, ValueError):
        return payload_fields.storable(content.decode("utf-8", "replace"))


_LETTERS: Final = {"n": "\n", "N": "\n"}


def _unescape(value: str) -> str:
    return _ESCAPED.sub(lambda found: _LETTERS.get(found[1], found[1]), value)
