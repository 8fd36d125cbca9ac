"""Lists as people bring them: pasted in any form, or as files of any origin; nothing of them is lost."""

import csv
import io
import zipfile
from datetime import date, datetime

import openpyxl
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from services.errors import ServiceError
from services.outreach import recipient_import, spreadsheet
from services.outreach.errors import EmptyList, ListTooLong, UnreadableList
from services.outreach.recipient_import import Columns, NoPhoneColumn
from services.outreach.recipient_row import RecipientRow
from services.outreach.spreadsheet import MAX_ROWS

ANA, BIA, CAIO = "(11) 91234-5678", "11 98765-4321", "+55 21 99888-7766"
GROUP = "120363041234567890@g.us"


def phones(text: str) -> list[tuple[str, str | None]]:
    return [(one.written, one.name) for one in recipient_import.parse_pasted(text)]


def workbook(*rows: list[object]) -> bytes:
    book = openpyxl.Workbook()
    book.create_sheet("vazia", 0)
    for row in rows:
        book["Sheet"].append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


# --- pasted -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ANA, [(ANA, None)]),
        (f"{ANA}\n{BIA}\r\n\n{CAIO}", [(ANA, None), (BIA, None), (CAIO, None)]),
        (f"{ANA}, {BIA};{CAIO}", [(ANA, None), (BIA, None), (CAIO, None)]),
        ("11912345678 11987654321  +5521998887766", [("11912345678", None), ("11987654321", None), ("+5521998887766", None)]),  # noqa: E501
        ("11 91234-5678 11 98765-4321", [("11 91234-5678", None), ("11 98765-4321", None)]),
        (f"Ana Silva; {ANA}", [("(11) 91234-5678", "Ana Silva")]),
        (f"Ana <{ANA}>, Bia <{BIA}>", [(ANA, "Ana"), (BIA, "Bia")]),
        (f"{ANA} Ana\t{BIA} Bia", [(ANA, "Ana"), (BIA, "Bia")]),
        (f"{ANA} - Ana Maria; São Paulo", [(ANA, "Ana Maria")]),
        (f"1. {ANA}\n2) {BIA}", [(ANA, None), (BIA, None)]),
        (f"Ana {ANA}, Bia 1234-567", [(ANA, "Ana"), ("1234-567", "Bia")]),
        ("não é nada", [("não é nada", None)]),
        (f"Equipe: {GROUP}", [(GROUP, "Equipe")]),
        ("5511912345678@c.us", [("5511912345678@c.us", None)]),
        ("5511912345678:3@s.whatsapp.net", [("5511912345678:3@s.whatsapp.net", None)]),
        ("Ana 112233445566778@lid", [("112233445566778@lid", "Ana")]),
        ("ana@example.com 11 98765-4321", [(BIA, None)]),
        ("Tel: (11) 91234-5678", [(ANA, None)]),
        ("WhatsApp 11 98765-4321", [(BIA, None)]),
        ("Whats: 11 98765-4321 / Tel: (11) 91234-5678", [(BIA, None), (ANA, None)]),
        ("Ana - cel 11 98765-4321", [(BIA, "Ana")]),
        ("Ana 11 98765-4321 (WhatsApp), Bia tel (11) 91234-5678", [(BIA, "Ana"), (ANA, "Bia")]),
        ("Nome: Ana Tel: (11) 91234-5678", [(ANA, "Ana")]),
        ("Celular da Ana 11 98765-4321", [(BIA, "Celular da Ana")]),
        ("Telma Celeste 11 98765-4321", [(BIA, "Telma Celeste")]),
        ("(0xx11) 98765-4321", [("(0xx11) 98765-4321", None)]),
        ("https://wa.me/5511987654321", [("https://wa.me/5511987654321", None)]),
        ("Ana https://wa.me/5511987654321?text=oi", [("https://wa.me/5511987654321?text=oi", "Ana")]),
        ("https://wa.me/message/ABC", [("https://wa.me/message/ABC", None)]),
        ("https://example.com/11987654321 11 91234-5678", [("11 91234-5678", None)]),
        ("tel:+55-11-98765-4321", [("+55-11-98765-4321", None)]),
        ('="5511987654321"', [("5511987654321", None)]),
        ("Ana 5.511987654321E+12", [("5.511987654321E+12", "Ana")]),
        ("Ana +55 11 98765-4321 ::: +55 11 3333-0030", [("+55 11 98765-4321 ::: +55 11 3333-0030", "Ana")]),
        ("+225 07 12 34 56 Awa", [("+225 07 12 34 56", "Awa")]),
        ("Maria 119.876.543-21", [("119.876.543-21", "Maria")]),
        ("João; 219.812.345-67; (11) 91234-5678", [(ANA, "João"), ("219.812.345-67", None)]),
        ("Ana CPF 21981234567 11 98765-4321", [(BIA, "Ana"), ("CPF 21981234567", None)]),
        ("Loja 12.345.678/0001-95 11 98765-4321", [(BIA, "Loja"), ("12.345.678/0001-95", None)]),
        ("\u202a+55 11 91234\u20115678\u202c", [("+55 11 91234\u20115678", None)]),
    ],
)  # fmt: skip
def test_it_reads_what_was_pasted(text: str, found: list[tuple[str, str | None]]) -> None:
    assert phones(text) == found


@pytest.mark.parametrize("text", ["", "  \n\t ; , \n", "\x00"])
def test_it_says_that_nothing_was_pasted(text: str) -> None:
    with pytest.raises(EmptyList):
        recipient_import.parse_pasted(text)


def test_it_keeps_the_line_of_each() -> None:
    assert [one.row for one in recipient_import.parse_pasted(f"\n{ANA}\n\n{BIA}, {CAIO}")] == [2, 4, 4]


@examples(max_examples=150, deadline=None)
@given(
    numbers=st.lists(st.integers(910000000, 999999999).map(lambda n: f"11{n}"), min_size=1, max_size=8, unique=True),
    between=st.sampled_from([",", ";", "\n", "\t", " | ", ", ", " ", " / ", "\r\n"]),
    name=st.sampled_from(["", "Ana ", "Zé da Silva: ", "<João> "]),
)
def test_it_finds_every_number_whatever_stands_between(numbers: list[str], between: str, name: str) -> None:
    found = recipient_import.parse_pasted(between.join(f"{name}{one}" for one in numbers))
    assert [one.written for one in found] == numbers
    assert {one.name for one in found} == {name.strip(" :<>") or None}


@examples(max_examples=300, deadline=None)
@given(st.text(alphabet=st.characters() | st.sampled_from("0123456789 ()+-,;\n@."), max_size=120))
def test_it_reads_any_text_or_says_why_not(text: str) -> None:
    try:
        found = recipient_import.parse_pasted(text)
    except EmptyList:
        return
    assert found
    assert all(one.written.strip() for one in found)
    # No digit of what may be a phone is lost: it is in an entry, or among so few that they are none.
    kept = "".join(one.written for one in found)
    assert sum(sign.isdecimal() for sign in kept) <= sum(sign.isdecimal() for sign in text)


# --- files ------------------------------------------------------------------------------------------------------------

TABLE = f"Nome;Telefone;Endereço\nAna;{ANA};Rua São João\n\nZé;{BIA};\n"


@pytest.mark.parametrize(
    "content",
    [
        TABLE.encode(),
        TABLE.encode("utf-8-sig"),
        TABLE.encode("cp1252"),
        TABLE.encode("latin-1"),
        TABLE.encode("utf-16"),
        TABLE.encode("utf-16-le"),
        TABLE.encode("utf-16-be"),
        TABLE.replace(";", ",").encode(),
        TABLE.replace(";", "\t").encode(),
        TABLE.replace("\n", "\r\n").encode("cp1252"),
        ("sep=;\n" + TABLE).encode("cp1252"),
        workbook(["Nome", "Telefone", "Endereço"], ["Ana", ANA, "Rua São João"], [], ["Zé", BIA]),
    ],
)
def test_it_reads_a_table_in_every_usual_form(content: bytes) -> None:
    sheet = spreadsheet.read_file(content)
    assert sheet.columns == ("Nome", "Telefone", "Endereço")
    assert [cells for _row, cells in sheet.rows] == [("Ana", ANA, "Rua São João"), ("Zé", BIA, "")]
    assert recipient_import.guess_columns(sheet) == Columns(1, 0, (2,))
    assert recipient_import.rows_from_sheet(sheet, recipient_import.guess_columns(sheet)) == (
        RecipientRow(sheet.rows[0][0], ANA, "Ana", {"endereco": "Rua São João"}),
        RecipientRow(sheet.rows[1][0], BIA, "Zé", {}),
    )


def test_it_counts_rows_as_the_spreadsheet_shows_them() -> None:
    content = workbook(["Nome", "Telefone"], ["Ana", ANA], [], ["Zé", BIA])
    assert [row for row, _cells in spreadsheet.read_file(content).rows] == [2, 4]
    quoted = f'Nome;Telefone\n"Ana\nMaria";{ANA}\nZé;{BIA}'
    assert [row for row, _cells in spreadsheet.read_file(quoted.encode()).rows] == [2, 4]


def test_it_takes_numbers_dates_and_formulas_as_they_are_written() -> None:
    formula = '=HYPERLINK("http://x","y")'
    content = workbook(
        ["fone", "dia", "hora", "valor", "conta"],
        [11912345678, date(2020, 3, 1), datetime(2020, 3, 1, 9, 30), 10.5, formula],
        [11912345678.0, None, None, True, "=1+1"],
    )
    sheet = spreadsheet.read_file(content)
    assert sheet.rows[0][1] == ("11912345678", "01/03/2020", "01/03/2020 09:30", "10.5", formula)
    assert sheet.rows[1][1] == ("11912345678", "", "", "True", "=1+1")
    assert spreadsheet.read_file(f"fone;conta\n{ANA};=1+1".encode()).rows[0][1] == (ANA, "=1+1")


def test_it_knows_the_columns_by_what_is_in_them() -> None:
    sheet = spreadsheet.read_file(f"{ANA},Ana\n{BIA},Bia".encode())
    assert sheet.columns == ("Coluna 1", "Coluna 2")
    assert (recipient_import.guess_columns(sheet).phone, len(sheet.rows)) == (0, 2)
    cpf = spreadsheet.read_file(f"CPF;Cliente;WhatsApp;Nome\n11912345678;Ana;{ANA};x\n".encode())
    assert recipient_import.guess_columns(cpf) == Columns(2, 3, (0, 1))
    assert spreadsheet.read_file(b"Nome;Nome;\nAna;Bia;11").columns == ("Nome", "Nome (2)", "Coluna 3")


def test_a_quote_that_never_ends_swallows_no_row() -> None:
    sheet = spreadsheet.read_file(f'Nome;Telefone\n"Ana;{ANA}\nBia;{BIA}\n'.encode())
    assert [cells for _row, cells in sheet.rows] == [("Ana", ANA), ("Bia", BIA)]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", EmptyList),
        (b"\n ;; \n", EmptyList),
        (workbook([]), EmptyList),
        (b"PK\x03\x04 and no zip", UnreadableList),
        (workbook(["Nome"], ["Ana"])[:-200], UnreadableList),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), UnreadableList),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), UnreadableList),
        (b"\xff\xfe\x00", UnreadableList),
        (b"%PDF-1.7\n\x00\x01", UnreadableList),
        (("11912345678\n" * (MAX_ROWS + 2)).encode(), ListTooLong),
    ],
)
def test_it_says_what_is_wrong_with_a_file(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        spreadsheet.read_file(content)


def test_it_unpacks_no_bomb() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/workbook.xml", bytes(spreadsheet.MAX_UNPACKED + 1))
    assert len(out.getvalue()) < 1024 * 1024
    with pytest.raises(UnreadableList):
        spreadsheet.read_file(out.getvalue())


def test_it_says_that_no_column_has_phones() -> None:
    with pytest.raises(NoPhoneColumn):
        recipient_import.guess_columns(spreadsheet.read_file(b"Nome;Cidade\nAna;Recife\n"))
    with pytest.raises(NoPhoneColumn):
        recipient_import.guess_columns(spreadsheet.read_file(b"Nome;Telefone\n"))


CELLS = st.text(alphabet=st.characters(blacklist_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=12)


@examples(max_examples=150, deadline=None)
@given(
    names=st.lists(CELLS, min_size=2, max_size=8),
    separator=st.sampled_from(spreadsheet.SEPARATORS),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_it_reads_back_what_a_spreadsheet_wrote(names: list[str], separator: str, encoding: str) -> None:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, quoting=csv.QUOTE_ALL)
    writer.writerow(["Nome", "Telefone"])
    writer.writerows([name, ANA] for name in names)
    sheet = spreadsheet.read_file(out.getvalue().encode(encoding))
    assert [cells for _row, cells in sheet.rows] == [(name, ANA) for name in names]


@examples(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_it_reads_any_bytes_or_says_why_not(content: bytes) -> None:
    try:
        sheet = spreadsheet.read_file(content)
        recipient_import.rows_from_sheet(sheet, recipient_import.guess_columns(sheet))
    except ServiceError:
        return


@examples(max_examples=100, deadline=None)
@given(place=st.integers(0, 5000), junk=st.binary(min_size=1, max_size=40))
def test_it_reads_a_damaged_workbook_or_says_why_not(place: int, junk: bytes) -> None:
    whole = workbook(["Nome", "Telefone"], ["Ana", ANA])
    cut = place % len(whole)
    try:
        spreadsheet.read_file(whole[:cut] + junk + whole[cut + len(junk) :])
    except ServiceError:
        return


def test_a_column_of_documents_is_no_column_of_phones() -> None:
    content = "CPF;Nome;Tel\n11987654321;Ana;11 3333-4444\n21987654321;Bia;\n"
    assert recipient_import.guess_columns(spreadsheet.read_file(content.encode())).phone == 2


def test_it_finds_the_column_of_addresses_that_programs_export() -> None:
    content = 'remoteJid;nome\n5511987654321@s.whatsapp.net;Ana\n112233445566778@lid;Bia\n"=""5511912345678""";Caio\n'
    sheet = spreadsheet.read_file(content.encode())
    assert recipient_import.guess_columns(sheet) == Columns(0, 1, ())
