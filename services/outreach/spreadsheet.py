"""A CSV or XLSX file as a table of texts. Pure: no database, no network.

A formula stays the text that it is written as; nothing ever calculates it.
"""

import csv
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from services.outreach.errors import EmptyList, ListTooLong, UnreadableList
from services.outreach.recipient_row import parse_address
from services.wppconnect.payload_fields import storable

MAX_ROWS = 20_000
MAX_COLUMNS = 60
CELL_LIMIT = 1000
# An XLSX is a ZIP: one of a few kilobytes may hold gigabytes.
MAX_UNPACKED = 200 * 1024 * 1024
# Rows by which separators and columns are told apart.
SAMPLE_ROWS = 200
SEPARATORS = (";", "\t", ",")
_OLD_OFFICE_MARK = b"\xd0\xcf\x11\xe0"
_XLSX_ERRORS = (
    InvalidFileException, zipfile.BadZipFile, zlib.error, ParseError, KeyError, IndexError, ValueError, TypeError,
    AttributeError, OSError, EOFError, NotImplementedError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class ImportedSheet:
    """A file as a table of texts; each row with its number in the file, and with a cell for each column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...] = field(repr=False)


def read_file(content: bytes) -> ImportedSheet:
    """The table in a CSV or XLSX file, told apart by what is in it.

    A CSV may be in UTF-8, UTF-16 or Windows' Latin-1, separated by `;`, `,` or tabs.

    Raises: UnreadableList, EmptyList, ListTooLong.
    """
    rows = _read_xlsx(content) if content.startswith(b"PK") else _read_csv(_decode(content))
    kept: list[tuple[int, tuple[str, ...]]] = []
    for number, row in rows:
        cells = [storable(cell).strip()[:CELL_LIMIT] for cell in row[:MAX_COLUMNS]]
        if any(cells):
            kept.append((number, tuple(cells)))
        if len(kept) > MAX_ROWS + 1:
            raise ListTooLong(f"over {MAX_ROWS} rows", limit=MAX_ROWS)
    if not kept:
        raise EmptyList("no row with anything in it")
    return _with_headings(kept)


def _with_headings(rows: list[tuple[int, tuple[str, ...]]]) -> ImportedSheet:
    """With a heading where the first row has no phone in it, else with columns that are counted."""
    width = max(place for _number, cells in rows for place, cell in enumerate(cells, 1) if cell)
    padded = [(number, (*cells[:width], *[""] * (width - len(cells)))) for number, cells in rows]
    first = padded[0][1]
    has_heading = not any(parse_address(cell) for cell in first)
    seen: Counter[str] = Counter()
    columns = []
    for number in range(width):
        name = (first[number] if has_heading else "") or f"Coluna {number + 1}"
        seen[name] += 1
        columns.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return ImportedSheet(tuple(columns), tuple(padded[1:] if has_heading else padded))


def _decode(content: bytes) -> str:
    text = _decode_utf16(content)
    if text is None:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            # Latin-1 as Windows has it; the five bytes that it leaves free are shown as unknown signs.
            text = content.decode("cp1252", "replace")
    if "\x00" in text or content.startswith(_OLD_OFFICE_MARK):
        raise UnreadableList("not a text")
    return text


def _decode_utf16(content: bytes) -> str | None:
    """With its mark, or told by the zeros that every second byte of European text is."""
    head = content[:1000]
    encoding = None
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif len(head) > 3 and head[1::2].count(0) > len(head) * 0.4:
        encoding = "utf-16-le"
    elif len(head) > 3 and head[0::2].count(0) > len(head) * 0.4:
        encoding = "utf-16-be"
    try:
        return content.decode(encoding) if encoding else None
    except UnicodeDecodeError:
        raise UnreadableList("broken UTF-16") from None


def _read_csv(text: str) -> Iterable[tuple[int, list[str]]]:
    first, _, rest = text.partition("\n")
    if told := re.fullmatch(r"sep=([;,\t])\s*", first):
        return ((number + 1, row) for number, row in _split_rows(rest, told[1]))
    return _split_rows(text, max(SEPARATORS, key=lambda one: _separator_score(text, one)))


def _separator_score(text: str, separator: str) -> tuple[bool, float, int]:
    """How well a separator divides the first lines: into several cells, and as many in each."""
    sample = "\n".join(text.splitlines()[:SAMPLE_ROWS])
    widths = Counter(len(row) for _number, row in _split_rows(sample, separator) if row)
    if not widths:
        return (False, 0.0, 0)
    width, count = widths.most_common(1)[0]
    return (width > 1, count / widths.total(), -SEPARATORS.index(separator))


def _split_rows(text: str, separator: str) -> list[tuple[int, list[str]]]:
    """Each row with its line; where the quotes do not match, they are signs like others, so that no row swallows
    those behind it."""
    try:
        return _read_rows(text, delimiter=separator, strict=True)
    except csv.Error:
        pass
    try:
        plain = _read_rows(text, delimiter=separator, quoting=csv.QUOTE_NONE)
    except csv.Error as error:
        raise UnreadableList(type(error).__name__) from None
    return [(number, [cell.strip('"') for cell in row]) for number, row in plain]


def _read_rows(text: str, **dialect: Any) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), **dialect)
    rows, line = [], 1
    for row in reader:
        rows.append((line, row))
        line = reader.line_num + 1
    return rows


def _read_xlsx(content: bytes) -> list[tuple[int, list[str]]]:
    """The first sheet that has anything in it; cells as they are written, formulas included."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if sum(one.file_size for one in packed.infolist()) > MAX_UNPACKED:
                raise UnreadableList("it would unpack into more than 200 MB")
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=False, keep_links=False)
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # some programs write wrong ones, and rows would be missing
            rows = _read_cells(sheet)
            if any(any(row) for _number, row in rows):
                return rows
    except _XLSX_ERRORS as error:
        raise UnreadableList(type(error).__name__) from None
    return []


def _read_cells(sheet: Any) -> list[tuple[int, list[str]]]:
    rows = []
    for number, row in enumerate(sheet.iter_rows(max_col=MAX_COLUMNS, values_only=True), 1):
        rows.append((number, [_cell_text(cell) for cell in row]))
        if len(rows) > 2 * MAX_ROWS:
            raise ListTooLong(f"over {MAX_ROWS} rows", limit=MAX_ROWS)
    return rows


def _cell_text(value: Any) -> str:
    """A cell as a person reads it: phones that were kept as numbers have no `.0`."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and (value.hour or value.minute):
        return f"{value:%d/%m/%Y %H:%M}"
    if isinstance(value, date):
        return f"{value:%d/%m/%Y}"
    return str(getattr(value, "text", value))
