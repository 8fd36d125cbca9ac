"""One recipient as somebody wrote it, and whether it is a phone or a group. Pure: no database, no network."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.wppconnect.errors import InvalidPhone
from services.wppconnect.phone import is_group, normalise

# As Excel writes long numbers into a CSV: the digits behind are gone.
_ROUNDED_NUMBER = re.compile(r"[0-9]+(?:[.,][0-9]+)?[eE]\+?[0-9]+")


@dataclass(frozen=True)
class RecipientRow:
    """One recipient as written. `row` is where: the line of the text or the row of the sheet, counted from 1.

    `values`: a template's variables by name.
    """

    row: int
    written: str
    name: str | None = field(default=None, repr=False)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse_address(written: str) -> str | None:
    """The digits of a phone, or the address of a group, that is written here; None for anything else."""
    if is_group(written.strip()):
        return written.strip()
    try:
        return normalise(written.strip().removesuffix("@c.us"))
    except InvalidPhone:
        return None


def is_rounded(written: str) -> bool:
    """Whether this was a long number until a spreadsheet wrote it as `1,19E+10`."""
    return bool(_ROUNDED_NUMBER.fullmatch(written.strip()))
