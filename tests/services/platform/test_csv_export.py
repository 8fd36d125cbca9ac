"""Files for spreadsheets and printers: complete, readable, and harmless whatever people typed."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from services.platform import csv_export
from tests.support.spreadsheets import FORMULA_CELLS, FORMULA_SHEET


@given(cell=st.text(max_size=20))
def test_it_lets_no_cell_begin_as_a_formula(cell: str) -> None:
    harmless = csv_export.escape_formula(cell)
    for part in (
        harmless,
        *harmless.replace("\n", ";").replace("\r", ";").replace("\t", ";").replace(",", ";").split(";"),
    ):
        assert not part.lstrip(" ").startswith(("=", "+", "-", "@"))
    assert harmless.replace("'", "") == cell.replace("'", ""), "nothing is lost"


def test_it_writes_csv_that_spreadsheets_read() -> None:
    content = csv_export.csv_file(FORMULA_SHEET)
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=";"))
    assert rows[0] == ["Modelo", "Mensagens", "Parte"]
    assert len(rows) == 1 + len(FORMULA_CELLS)
    assert rows[1] == ["'=1+1", "3", "0.5"]
