"""Tables as CSV, and the one place where cells are made harmless for spreadsheets.

A cell may hold what people typed, and a spreadsheet takes a cell that begins in certain ways for a formula.
"""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Cell = str | int | float | None

# OWASP, "CSV Injection": = + - @ and control characters at a cell's start; behind a separator too, because a
# spreadsheet of another language may divide a line at another one than ours.
_FORMULA_START = re.compile(r"^(?=\s*[=+\-@]|[\x00-\x1f\x7f])|(?<=[,;\t\r\n])(?=\s*[=+\-@])")


@dataclass(frozen=True)
class Sheet:
    """One table with its title; every row has a cell for each of `headers`."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def escape_formula(cell: str) -> str:
    """`cell` with an apostrophe before whatever a spreadsheet might calculate."""
    return _FORMULA_START.sub("'", cell)


def csv_line(cells: Iterable[Cell]) -> str:
    """One line for spreadsheets: `;` between cells, each quoted, and none that would be taken for a formula."""
    out = io.StringIO()
    csv.writer(out, delimiter=";", quoting=csv.QUOTE_ALL).writerow(
        escape_formula(cell) if isinstance(cell, str) else cell for cell in cells
    )
    return out.getvalue()


def csv_file(sheet: Sheet) -> bytes:
    """A whole table as a file that spreadsheets open as UTF-8."""
    return "".join(map(csv_line, [sheet.headers, *sheet.rows])).encode("utf-8-sig")
