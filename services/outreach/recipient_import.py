"""Recipients from a pasted text, or from the columns of a file. Pure: no database, no network.

Nothing is lost: what is no phone stays in the list and is reported as invalid later.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.errors import N_
from services.outreach.errors import EmptyList, ListTooLong, UnreadableList
from services.outreach.recipient_row import RecipientRow, parse_address
from services.outreach.spreadsheet import CELL_LIMIT, MAX_ROWS, SAMPLE_ROWS, ImportedSheet
from services.outreach.template_language import variable_name
from services.wppconnect import written_forms
from services.wppconnect.payload_fields import storable
from services.wppconnect.phone import GROUP_ADDRESS, is_certain

# Digits that may be a phone: fewer are a house's or a list's number, more are two phones.
MIN_DIGITS, MAX_DIGITS = 7, 15
PHONE_HEADERS = ("telefone", "celular", "whatsapp", "zap", "fone", "phone", "mobile", "numero", "contato", "tel")
# Digits that may look like a phone's.
DOCUMENT_HEADERS = ("cpf", "cnpj", "rg", "documento", "matricula")
NAME_HEADERS = ("nome", "name", "cliente", "contato", "destinatario", "pessoa")

# With the carrier that is to be chosen, as in (0xx11).
_PHONE_LIKE = re.compile(
    r"(?:\(?0\s?(?:xx|\*\*)\s?)?(?:\+|\()?\s?[0-9][0-9 ().\-\u2010-\u2015\u2212\u00a0]*[0-9]", re.IGNORECASE
)
_PERSON_ADDRESS = re.compile(
    r"(?<![0-9.])[0-9]{5,20}(?:[._][0-9]+)?(?::[0-9]+)?@(?:c\.us|s\.whatsapp\.net|lid)\b", re.I
)
# What is read as a whole, or not at all: its digits are no phone by themselves.
_WHOLE = (GROUP_ADDRESS, _PERSON_ADDRESS, written_forms.LINK, written_forms.SCIENTIFIC)
_DOCUMENTS = (written_forms.NAMED_DOCUMENT, written_forms.CNPJ, written_forms.CPF)
_BETWEEN_NUMBERS_OF_ONE = re.compile(r"\s*:::\s*")
# What stands around a name in pasted text. A formula begins with a sign that is none of them.
_DELIMITERS = " \t<>()[]{}\"':;,.|/–—-*•"
_NAME_DELIMITERS = f"{_DELIMITERS}="
_ADDRESS_OR_LINK = re.compile(rf"\S+@\S+|{written_forms.LINK.pattern}", re.IGNORECASE)
_LABEL_AHEAD = re.compile(
    rf"\A(?:(?:{written_forms.LABEL.pattern}|(?:nome|cliente|name)(?=\s*:))(?![\s.:/\-]+d[aeo]s?\b)[\s.:/()\-]*)+",
    re.IGNORECASE,
)
_LABEL_BEHIND = re.compile(rf"(?:[\s.:/()\-]*{written_forms.LABEL.pattern})+[\s.:/()\-]*\Z", re.IGNORECASE)


class NoPhoneColumn(UnreadableList):
    code = "lista_sem_telefone"
    message = N_("Nenhuma coluna dessa lista tem números de telefone.")
    hint = N_("Inclua uma coluna com DDD e número, por exemplo (11) 99999-9999.")


@dataclass(frozen=True)
class Columns:
    """Which columns (counted from 0) of a sheet hold the phone, the name and a template's variables."""

    phone: int
    name: int | None = None
    variables: tuple[int, ...] = ()


def parse_pasted(text: str) -> tuple[RecipientRow, ...]:
    """The recipients in a text: any separators, one or several in a line, names before or behind, or none.

    Raises: EmptyList and ListTooLong.
    """
    lines = enumerate(storable(text).splitlines(), 1)
    found: list[RecipientRow] = []
    for number, line in lines:
        found += _parse_line(number, line)
        if len(found) > MAX_ROWS:
            raise ListTooLong(f"over {MAX_ROWS} entries", limit=MAX_ROWS)
    if not found:
        raise EmptyList("nothing pasted")
    return tuple(found)


def _parse_line(number: int, line: str) -> list[RecipientRow]:
    line, documents = _take_out_documents(line)
    spans = list(_find_phones(line))
    if not spans:
        rest = line.strip(_DELIMITERS)[:CELL_LIMIT]
        if documents:
            return [RecipientRow(number, one, _name_between(rest)) for one in documents]
        return [RecipientRow(number, rest)] if any(sign.isalnum() for sign in rest) else []
    ends = [0, *(end for _start, end in spans)]
    starts = [*(start for start, _end in spans), len(line)]
    gaps = [_name_between(line[start:end]) for start, end in zip(ends, starts, strict=True)]
    names = gaps[:-1] if gaps[0] else gaps[1:]
    return [
        RecipientRow(number, line[start:end].strip()[:CELL_LIMIT], name)
        for (start, end), name in zip(spans, names, strict=True)
    ] + [RecipientRow(number, one) for one in documents]


def _take_out_documents(line: str) -> tuple[str, list[str]]:
    """The line with nothing where documents' numbers stood, and these."""
    found: list[str] = []
    for form in _DOCUMENTS:
        found += (one[0].strip()[:CELL_LIMIT] for one in form.finditer(line))
        line = form.sub(" ", line)
    return line, found


def _name_between(between: str) -> str | None:
    """The first part with a letter in it, without the words that say what stands beside it."""
    parts = (_without_labels(part) for part in re.split(r"[;\t|]", _ADDRESS_OR_LINK.sub(" ", between)))
    return next((part[:CELL_LIMIT] for part in parts if any(sign.isalpha() for sign in part)), None)


def _without_labels(part: str) -> str:
    bare = _LABEL_AHEAD.sub("", part.strip(_NAME_DELIMITERS))
    return _LABEL_BEHIND.sub("", bare).strip(_NAME_DELIMITERS)


def _find_phones(line: str) -> Iterator[tuple[int, int]]:
    """Where in the line phones and addresses stand, in their order, also ones that are not valid; of fewer digits than
    any phone has, none."""
    found: list[tuple[int, int]] = []
    for form in _WHOLE:
        found += (one.span() for one in form.finditer(line) if form is not written_forms.LINK or parse_address(one[0]))
        line = form.sub(lambda one: "_" * len(one[0]), line)
    for run in _PHONE_LIKE.finditer(line):
        found += _split_run(run.start(), run[0])
    last: tuple[int, int] | None = None
    for start, end in sorted(found):
        if last is not None and not _BETWEEN_NUMBERS_OF_ONE.fullmatch(line[last[1] : start]):
            yield last
            last = None
        last = (last[0] if last else start, end)
    if last is not None:
        yield last


def _split_run(offset: int, run: str) -> Iterator[tuple[int, int]]:
    """The phones in a run of digits and blanks: each the longest that is valid, and what is left between them."""
    pieces = [(offset + one.start(), offset + one.end()) for one in re.finditer(r"\S+", run)]
    place, bad = 0, None
    while place < len(pieces):
        start = pieces[place][0]
        end = _longest_phone(run, offset, pieces[place:])
        if end is None:
            bad = (bad[0] if bad else start, pieces[place][1])
            place += 1
            continue
        if bad and _has_enough_digits(run[bad[0] - offset : bad[1] - offset]):
            yield bad
        bad = None
        yield start, end
        place = next(n for n, piece in enumerate(pieces) if piece[1] == end) + 1
    if bad and _has_enough_digits(run[bad[0] - offset : bad[1] - offset]):
        yield bad


def _longest_phone(run: str, offset: int, pieces: list[tuple[int, int]]) -> int | None:
    """The end of the longest that the country's plan has; where there is none, of the longest that may be one."""
    certain = possible = None
    for _start, end in pieces:
        written = run[pieces[0][0] - offset : end - offset]
        if _count_digits(written) > MAX_DIGITS:
            break
        address = parse_address(written) if _count_digits(written) >= MIN_DIGITS else None
        if address is not None:
            possible = end
            certain = end if is_certain(address) else certain
    return certain or possible


def _has_enough_digits(written: str) -> bool:
    return _count_digits(written) >= MIN_DIGITS


def _count_digits(written: str) -> int:
    return sum(sign.isdecimal() for sign in written)


def guess_columns(sheet: ImportedSheet) -> Columns:
    """The columns as their names and contents suggest them: every other one may fill a variable.

    Raises: NoPhoneColumn.
    """
    names = [variable_name(column) for column in sheet.columns]
    shares = [
        0.0 if _heading_score(name, DOCUMENT_HEADERS) else _share_of_phones(sheet, column)
        for column, name in enumerate(names)
    ]
    ranked = [share + _heading_score(name, PHONE_HEADERS) for share, name in zip(shares, names, strict=True)]
    phone = max(range(len(ranked)), key=ranked.__getitem__)
    if not shares[phone]:
        raise NoPhoneColumn("no column with phones")
    others = [column for column in range(len(names)) if column != phone]
    named = [column for column in others if _heading_score(names[column], NAME_HEADERS)]
    name = max(named, key=lambda column: _heading_score(names[column], NAME_HEADERS), default=None)
    return Columns(phone, name, tuple(column for column in others if column != name))


def rows_from_sheet(sheet: ImportedSheet, columns: Columns) -> tuple[RecipientRow, ...]:
    """The rows as recipients. Every column chosen as a variable is one by its own name.

    Raises: EmptyList.
    """
    names = {column: variable_name(sheet.columns[column]) for column in columns.variables}
    found = tuple(
        RecipientRow(
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


def _share_of_phones(sheet: ImportedSheet, column: int) -> float:
    cells = [cells[column] for _number, cells in sheet.rows[:SAMPLE_ROWS] if cells[column]]
    return sum(parse_address(cell) is not None for cell in cells) / len(cells) if cells else 0.0


def _heading_score(name: str, headers: Sequence[str]) -> float:
    """How well a column's name says that it is one of these, under 1; the first of them says it best."""
    found = (1 - place / (len(headers) + 1) for place, one in enumerate(headers) if one in name.split("_"))
    return max(found, default=0.0)
