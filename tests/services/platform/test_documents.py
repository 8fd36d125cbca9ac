"""Workbooks and printed summaries: readable, and harmless whatever people typed."""

import io
import subprocess
import sys

import pytest
from openpyxl import load_workbook

from services.platform import documents
from services.platform.csv_export import Sheet
from tests.support.spreadsheets import FORMULA_CELLS, FORMULA_SHEET


def test_it_writes_workbooks_without_formulas() -> None:
    book = load_workbook(io.BytesIO(documents.xlsx_file([FORMULA_SHEET, Sheet("Resumo", ["a"], [])])))
    page = book.worksheets[0]
    assert book.sheetnames[1] == "Resumo"
    assert page.max_row == 1 + len(FORMULA_CELLS)
    for row in page.iter_rows(min_row=2):
        assert [cell.data_type for cell in row] == ["s", "n", "n"]


@pytest.mark.parametrize("words", ["Relatório – “ação”…", "\U0001f600 promoção", "促销", "=1"])
def test_it_prints_whatever_people_call_things(words: str) -> None:
    assert documents.pdf_file(words, words, [Sheet(words, [words, "n"], [[words, 1], [None, 2]])]).startswith(b"%PDF-")


def test_it_prints_long_tables_on_several_pages() -> None:
    content = documents.pdf_file(
        "Relatório", "", [Sheet("Por dia", ["Dia", "Enviadas"], [[str(n), n] for n in range(200)])]
    )
    assert content.count(b"/Type /Page\n") > 2


def test_its_libraries_keep_no_process_waiting() -> None:
    """They take as long to load as all the rest: whoever only sends, receives or administers must not load them."""
    loaded = "import sys, webhook, worker, manage; print({'fpdf', 'pandas', 'altair', 'openpyxl'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout == (
        "set()\n"
    )
