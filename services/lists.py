"""Lists of recipients as people bring them: pasted in any form, or as a CSV or XLSX file. Pure: nothing is asked.

Nothing is lost: what is no phone stays in the list and is told to be none. A formula is the text that it is written as;
nothing ever calculates it.
"""

import csv
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from xml.etree.ElementTree import ParseError

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from services.entries import Entry, valid
from services.errors import EmptyList, ListTooLong, NoPhoneColumn, UnreadableList
from services.templates import variable_name
from services.wppconnect.fields import storable
from services.wppconnect.phone import GROUP

# Digits that may be a phone: fewer are a house's or a list's number, more are two phones.
MIN_DIGITS, MAX_DIGITS = 7, 15
MAX_ROWS = 20_000
MAX_COLUMNS = 60
CELL_LIMIT = 1000
# An XLSX is a ZIP: one of a few kilobytes may hold gigabytes.
MAX_UNPACKED = 200 * 1024 * 1024
# Rows by which separators and columns are told apart.
SAMPLE = 200
SEPARATORS = (";", "\t", ",")
PHONE_HEADERS = ("telefone", "celular", "whatsapp", "zap", "fone", "phone", "mobile", "numero", "contato", "tel")
NAME_HEADERS = ("nome", "name", "cliente", "contato", "destinatario", "pessoa")

_PHONE_LIKE = re.compile(r"(?:\+|\()?\s?[0-9][0-9 ().\-\u2010-\u2015\u2212\u00a0]*[0-9]")
_OLD_OFFICE = b"\xd0\xcf\x11\xe0"
# What stands around a name in pasted text.
_AROUND = " \t<>()[]{}\"':;,.|/–—-*•"
_UNREADABLE = (
    InvalidFileException, zipfile.BadZipFile, zlib.error, ParseError, KeyError, IndexError, ValueError, TypeError,
    AttributeError, OSError, EOFError, NotImplementedError, RuntimeError,
)  # fmt: skip


@dataclass(frozen=True)
class Sheet:
    """A file as a table of texts; each row with its number in the file, and with a cell for each column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...] = field(repr=False)


@dataclass(frozen=True)
class Columns:
    """Which columns (counted from 0) of a sheet hold the phone, the name and a template's variables."""

    phone: int
    name: int | None = None
    variables: tuple[int, ...] = ()


# --- pasted -----------------------------------------------------------------------------------------------------------


def pasted(text: str) -> tuple[Entry, ...]:
    """The recipients in a text: any separators, one or several in a line, names before or behind, or none.

    Raises EmptyList and ListTooLong.
    """
    lines = enumerate(storable(text).splitlines(), 1)
    found: list[Entry] = []
    for number, line in lines:
        found += _in_line(number, line)
        if len(found) > MAX_ROWS:
            raise ListTooLong(f"over {MAX_ROWS} entries", limit=MAX_ROWS)
    if not found:
        raise EmptyList("nothing pasted")
    return tuple(found)


def _in_line(number: int, line: str) -> list[Entry]:
    line = line.replace("@c.us", " ")
    spans = list(_phones(line))
    if not spans:
        rest = line.strip(_AROUND)[:CELL_LIMIT]
        return [Entry(number, rest)] if any(sign.isalnum() for sign in rest) else []
    ends = [0, *(end for _start, end in spans)]
    starts = [*(start for start, _end in spans), len(line)]
    gaps = [_name(line[start:end]) for start, end in zip(ends, starts, strict=True)]
    names = gaps[:-1] if gaps[0] else gaps[1:]
    return [
        Entry(number, line[start:end].strip()[:CELL_LIMIT], name)
        for (start, end), name in zip(spans, names, strict=True)
    ]


def _name(between: str) -> str | None:
    """The first part with a letter in it."""
    parts = (part.strip(_AROUND) for part in re.split(r"[;\t|]", between))
    return next((part[:CELL_LIMIT] for part in parts if any(sign.isalpha() for sign in part)), None)


def _phones(line: str) -> Iterator[tuple[int, int]]:
    """Where in the line phones stand, also ones that are not valid; of fewer digits than any phone has, none."""
    for group in GROUP.finditer(line):
        yield group.span()
    rest = GROUP.sub(lambda group: "_" * len(group[0]), line)
    for run in _PHONE_LIKE.finditer(rest):
        yield from _split(run.start(), run[0])


def _split(offset: int, run: str) -> Iterator[tuple[int, int]]:
    """The phones in a run of digits and blanks: each the longest that is valid, and what is left between them."""
    pieces = [(offset + one.start(), offset + one.end()) for one in re.finditer(r"\S+", run)]
    place, bad = 0, None
    while place < len(pieces):
        start = pieces[place][0]
        end = _longest(run, offset, pieces[place:])
        if end is None:
            bad = (bad[0] if bad else start, pieces[place][1])
            place += 1
            continue
        if bad and _is_long(run[bad[0] - offset : bad[1] - offset]):
            yield bad
        bad = None
        yield start, end
        place = next(n for n, piece in enumerate(pieces) if piece[1] == end) + 1
    if bad and _is_long(run[bad[0] - offset : bad[1] - offset]):
        yield bad


def _longest(run: str, offset: int, pieces: list[tuple[int, int]]) -> int | None:
    found = None
    for _start, end in pieces:
        written = run[pieces[0][0] - offset : end - offset]
        if _digits(written) > MAX_DIGITS:
            break
        if _digits(written) >= MIN_DIGITS and valid(written):
            found = end
    return found


def _is_long(written: str) -> bool:
    return _digits(written) >= MIN_DIGITS


def _digits(written: str) -> int:
    return sum(sign.isdecimal() for sign in written)


# --- files ------------------------------------------------------------------------------------------------------------


def read_file(content: bytes) -> Sheet:
    """The table in a CSV or XLSX file, told apart by what is in it.

    A CSV may be in UTF-8, UTF-16 or Windows' Latin-1, separated by `;`, `,` or tabs. Raises UnreadableList, EmptyList,
    ListTooLong.
    """
    rows = _xlsx(content) if content.startswith(b"PK") else _csv(_decoded(content))
    kept: list[tuple[int, tuple[str, ...]]] = []
    for number, row in rows:
        cells = [storable(cell).strip()[:CELL_LIMIT] for cell in row[:MAX_COLUMNS]]
        if any(cells):
            kept.append((number, tuple(cells)))
        if len(kept) > MAX_ROWS + 1:
            raise ListTooLong(f"over {MAX_ROWS} rows", limit=MAX_ROWS)
    if not kept:
        raise EmptyList("no row with anything in it")
    return _sheet(kept)


def guess(sheet: Sheet) -> Columns:
    """The columns as their names and contents suggest them: every other one may fill a variable.

    Raises NoPhoneColumn.
    """
    shares = [_share_of_phones(sheet, column) for column in range(len(sheet.columns))]
    names = [variable_name(column) for column in sheet.columns]
    ranked = [share + _rank(name, PHONE_HEADERS) for share, name in zip(shares, names, strict=True)]
    phone = max(range(len(ranked)), key=ranked.__getitem__)
    if not shares[phone]:
        raise NoPhoneColumn("no column with phones")
    others = [column for column in range(len(names)) if column != phone]
    named = [column for column in others if _rank(names[column], NAME_HEADERS)]
    name = max(named, key=lambda column: _rank(names[column], NAME_HEADERS), default=None)
    return Columns(phone, name, tuple(column for column in others if column != name))


def entries(sheet: Sheet, columns: Columns) -> tuple[Entry, ...]:
    """The rows as recipients. Every column chosen as a variable is one by its own name. Raises EmptyList."""
    names = {column: variable_name(sheet.columns[column]) for column in columns.variables}
    found = tuple(
        Entry(
            row=number,
            written=cells[columns.phone],
            name=(cells[columns.name] or None) if columns.name is not None else None,
            values={name: cells[column] for column, name in names.items() if name and cells[column]},
        )
        for number, cells in sheet.rows
    )
    if not found:
        raise EmptyList("a heading and nothing below it")
    return found


def _share_of_phones(sheet: Sheet, column: int) -> float:
    cells = [cells[column] for _number, cells in sheet.rows[:SAMPLE] if cells[column]]
    return sum(valid(cell) is not None for cell in cells) / len(cells) if cells else 0.0


def _rank(name: str, headers: Sequence[str]) -> float:
    """How well a column's name says that it is one of these, under 1; the first of them says it best."""
    found = (1 - place / (len(headers) + 1) for place, one in enumerate(headers) if one in name.split("_"))
    return max(found, default=0.0)


def _sheet(rows: list[tuple[int, tuple[str, ...]]]) -> Sheet:
    """With a heading where the first row has no phone in it, else with columns that are counted."""
    width = max(place for _number, cells in rows for place, cell in enumerate(cells, 1) if cell)
    padded = [(number, (*cells[:width], *[""] * (width - len(cells)))) for number, cells in rows]
    first = padded[0][1]
    has_heading = not any(valid(cell) for cell in first)
    seen: Counter[str] = Counter()
    columns = []
    for number in range(width):
        name = (first[number] if has_heading else "") or f"Coluna {number + 1}"
        seen[name] += 1
        columns.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return Sheet(tuple(columns), tuple(padded[1:] if has_heading else padded))


def _decoded(content: bytes) -> str:
    text = _as_utf16(content)
    if text is None:
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            # Latin-1 as Windows has it; the five bytes that it leaves free are shown as unknown signs.
            text = content.decode("cp1252", "replace")
    if "\x00" in text or content.startswith(_OLD_OFFICE):
        raise UnreadableList("not a text")
    return text


def _as_utf16(content: bytes) -> str | None:
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


def _csv(text: str) -> Iterable[tuple[int, list[str]]]:
    first, _, rest = text.partition("\n")
    if told := re.fullmatch(r"sep=([;,\t])\s*", first):
        return ((number + 1, row) for number, row in _rows(rest, told[1]))
    return _rows(text, max(SEPARATORS, key=lambda one: _consistency(text, one)))


def _consistency(text: str, separator: str) -> tuple[bool, float, int]:
    """How well a separator divides the first lines: into several cells, and as many in each."""
    sample = "\n".join(text.splitlines()[:SAMPLE])
    widths = Counter(len(row) for _number, row in _rows(sample, separator) if row)
    if not widths:
        return (False, 0.0, 0)
    width, count = widths.most_common(1)[0]
    return (width > 1, count / widths.total(), -SEPARATORS.index(separator))


def _rows(text: str, separator: str) -> list[tuple[int, list[str]]]:
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


def _xlsx(content: bytes) -> list[tuple[int, list[str]]]:
    """The first sheet that has anything in it; cells as they are written, formulas included."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            if sum(one.file_size for one in packed.infolist()) > MAX_UNPACKED:
                raise UnreadableList("it would unpack into more than 200 MB")
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=False, keep_links=False)
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # some programs write wrong ones, and rows would be missing
            rows = _cells(sheet)
            if any(any(row) for _number, row in rows):
                return rows
    except _UNREADABLE as error:
        raise UnreadableList(type(error).__name__) from None
    return []


def _cells(sheet: Any) -> list[tuple[int, list[str]]]:
    rows = []
    for number, row in enumerate(sheet.iter_rows(max_col=MAX_COLUMNS, values_only=True), 1):
        rows.append((number, [_text(cell) for cell in row]))
        if len(rows) > 2 * MAX_ROWS:
            raise ListTooLong(f"over {MAX_ROWS} rows", limit=MAX_ROWS)
    return rows


def _text(value: Any) -> str:
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
