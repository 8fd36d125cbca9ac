"""Files for spreadsheets and printers: complete, readable, and harmless whatever people typed."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import load_workbook

from services import export
from services.export import Sheet

EVIL = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "a;=1", "a,@b", "\r\n=cmd|' /C calc'!A0", "\x00=1", "normal"]
SHEET = Sheet("Por modelo: [a/b]?*", ["Modelo", "Mensagens", "Parte"], [[one, 3, 0.5] for one in EVIL])


@given(cell=st.text(max_size=20))
def test_it_lets_no_cell_begin_as_a_formula(cell: str) -> None:
    harmless = export.neutral(cell)
    for part in (
        harmless,
        *harmless.replace("\n", ";").replace("\r", ";").replace("\t", ";").replace(",", ";").split(";"),
    ):
        assert not part.lstrip(" ").startswith(("=", "+", "-", "@"))
    assert harmless.replace("'", "") == cell.replace("'", ""), "nothing is lost"


def test_it_writes_csv_that_spreadsheets_read() -> None:
    content = export.csv_file(SHEET)
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";"))
    assert rows[0] == ["Modelo", "Mensagens", "Parte"]
    assert len(rows) == 1 + len(EVIL)
    assert rows[1] == ["'=1+1", "3", "0.5"]


def test_it_writes_workbooks_without_formulas() -> None:
    book = load_workbook(io.BytesIO(export.xlsx_file([SHEET, Sheet("Resumo", ["a"], [])])))
    page = book.worksheets[0]
    assert book.sheetnames[1] == "Resumo"
    assert page.max_row == 1 + len(EVIL)
    for row in page.iter_rows(min_row=2):
        assert [cell.data_type for cell in row] == ["s", "n", "n"]


@pytest.mark.parametrize("words", ["Relatório – “ação”…", "\U0001f600 promoção", "促销", "=1"])
def test_it_prints_whatever_people_call_things(words: str) -> None:
    assert export.pdf_file(words, words, [Sheet(words, [words, "n"], [[words, 1], [None, 2]])]).startswith(b"%PDF-")


def test_it_prints_long_tables_on_several_pages() -> None:
    content = export.pdf_file(
        "Relatório", "", [Sheet("Por dia", ["Dia", "Enviadas"], [[str(n), n] for n in range(200)])]
    )
    assert content.count(b"/Type /Page\n") > 2
