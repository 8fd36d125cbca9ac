"""The wrapping in which people and programs hand in a number: quotes, labels, links, a spreadsheet's ways of writing.

Pure text, and no word about which numbers exist: that is `phone`'s.
"""

import re
import unicodedata
from decimal import Decimal
from typing import Final
from urllib.parse import unquote

from services.wppconnect.errors import DocumentNotPhone, InvalidPhone, RoundedNumber

# What is longer is a text, not a number.
MAX_LENGTH: Final = 300

_LETTER = r"[^\W\d_]"
_LABELS: Final = (
    r"(?:tel(?:efones?)?|fones?|cel(?:ular(?:es)?)?|whats(?:app?)?(?: business)?|wpp|zap(?:zap)?|phone|mobile|cell|"
    r"m[óo]vel|contatos?|n[úu]m(?:ero)?|nº|fixo|comercial|residencial|trabalho|recados?|p(?=:))"
)
LABEL: Final = re.compile(rf"(?<!{_LETTER}){_LABELS}(?!{_LETTER})", re.IGNORECASE)
# A link that opens a chat, and what has a person's address in it. What stands behind wa.me may be no number at all.
LINK: Final = re.compile(
    r"(?:https?://|www\.|\bwhatsapp://|\bwa\.me/|\b(?:api|web)\.whatsapp\.com/)[^\s<>;,|]*", re.IGNORECASE
)
# As a person's CPF and a company's CNPJ are written; no phone is.
CPF: Final = re.compile(r"(?<![0-9])(?<![0-9] )[0-9]{3}[. ]?[0-9]{3}[. ]?[0-9]{3}-[0-9]{2}(?![0-9])")
CNPJ: Final = re.compile(r"(?<![0-9])[0-9]{2}[. ]?[0-9]{3}[. ]?[0-9]{3} ?/ ?[0-9]{4}-?[0-9]{2}(?![0-9])")
# Also without its signs, where the word stands before it.
NAMED_DOCUMENT: Final = re.compile(
    rf"(?<!{_LETTER})(?:cpf|cnpj|rg)(?!{_LETTER})(?:[\s.:/nº°]|cnpj)*"
    r"(?:(?:[0-9][./\- ]?){13}[0-9]|(?:[0-9][./\- ]?){10}[0-9]|(?:[0-9][./\-]?){4,9}[0-9X])(?![0-9])",
    re.IGNORECASE,
)
# A long number as a spreadsheet writes it.
SCIENTIFIC: Final = re.compile(r"[0-9]+(?:[.,][0-9]+)?e\+?[0-9]{1,3}", re.IGNORECASE)

_QUOTED = re.compile(r"""=?\s*(["'])(.*)\1""")
_LABELS_AHEAD = re.compile(rf"\A(?:\(?{LABEL.pattern}\)?[\s.:/\-]*)+", re.IGNORECASE)
_LABELS_BEHIND = re.compile(rf"(?:[\s.:/\-]*\(?{LABEL.pattern}\)?)+[\s.:/\-]*\Z", re.IGNORECASE)
_SCHEME = re.compile(r"(?:tel|callto|sms|whatsapp):(?!//)([^;?]*)", re.IGNORECASE)
_CHAT_LINK = re.compile(
    r"(?:https?://)?(?:www\.)?wa\.me/\+?([0-9 ().\-]+)(?:[/?#].*)?"
    r"|(?:(?:https?://)?(?:(?:www|api|web)\.)?whatsapp\.com|whatsapp:/)/send/?\?(?:.*&)?phone="
    r"\+?([0-9 ().\-]+)(?:[&#].*)?",
    re.IGNORECASE,
)
# The carrier that is to be chosen, as in (0xx11).
_ANY_CARRIER = re.compile(r"(?<![0-9])0\s?(?:xx|\*\*)\s?", re.IGNORECASE)
_DECIMAL = re.compile(r"(\+?[0-9]{8,15})[.,]0{1,2}")


def unwrap(raw: str) -> str:
    """What is left of `raw` once everything around the number or address is gone.

    A chat's link becomes `+` and its digits, because what stands in it has its country's code.

    Raises: DocumentNotPhone, RoundedNumber; InvalidPhone for a whole text.
    """
    if len(raw) > MAX_LENGTH:
        raise InvalidPhone("longer than any number")
    written = _unquote(show_signs(raw))
    if found := _CHAT_LINK.fullmatch(unquote(written)):
        return "+" + re.sub(r"[^0-9]", "", found[1] or found[2])
    if found := _SCHEME.fullmatch(written.partition(";")[0]):
        written = unquote(found[1]).strip()
    if is_document(written):
        raise DocumentNotPhone("a CPF or CNPJ")
    if "@" not in written:
        written = _LABELS_BEHIND.sub("", _LABELS_AHEAD.sub("", written))
    return _read_decimal(_ANY_CARRIER.sub("0", written).strip())


def show_signs(raw: str) -> str:
    """`raw` without the invisible signs that come along when a number is copied from a web page or a contact, and with
    plain blanks, digits and hyphens."""
    visible = "".join(sign for sign in raw if unicodedata.category(sign) != "Cf")
    written = re.sub(r"\s", " ", unicodedata.normalize("NFKC", visible)).strip()
    return re.sub(r"[\u2010-\u2015\u2212]", "-", written)


def is_document(written: str) -> bool:
    """Whether this is a CPF, a CNPJ or another document's number, and nothing else."""
    return any(form.fullmatch(written) for form in (CPF, CNPJ, NAMED_DOCUMENT))


def _unquote(written: str) -> str:
    """Without what keeps a spreadsheet from calculating: `="55…"`, `'+55…`."""
    while found := _QUOTED.fullmatch(written):
        written = found[2].strip()
    return written.removeprefix("'").strip()


def _read_decimal(written: str) -> str:
    """A number that was kept as one, `5511987650031.0` or `5.511987650031E+12`, if all its digits are there.

    Raises: RoundedNumber.
    """
    if found := _DECIMAL.fullmatch(written):
        return found[1]
    if not SCIENTIFIC.fullmatch(written):
        return written
    number = Decimal(written.replace(",", "."))
    if number.adjusted() >= len(number.as_tuple().digits) or number != number.to_integral_value():
        raise RoundedNumber("digits are missing")
    return str(int(number))
