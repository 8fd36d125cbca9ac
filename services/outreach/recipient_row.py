"""One recipient as somebody wrote it, and whether it is an address. Pure: no database, no network."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.wppconnect.errors import InvalidPhone
from services.wppconnect.phone import read_address


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
    """The digits of a phone, a person's `…@lid` or the address of a group, in any form that it is written in; None for
    anything else."""
    try:
        return read_address(written)
    except InvalidPhone:
        return None
