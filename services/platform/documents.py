"""Tables as documents: an XLSX workbook, and a PDF summary.

This is a module of its own because the libraries that write them take as long to load as the rest of a process.
"""

import io
import re
from collections.abc import Sequence

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace
from openpyxl import Workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

from services.platform.csv_export import Cell, Sheet, escape_formula

# What XML cannot hold.
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
# Excel refuses longer names of sheets, and these signs in them.
_MAX_SHEET_NAME_LENGTH = 31
_NOT_IN_SHEET_NAME = re.compile(r"[\\/*?:\[\]]")
_MAX_COLUMN_WIDTH = 60


def xlsx_file(sheets: Sequence[Sheet]) -> bytes:
    """Each table as a sheet of one workbook; numbers stay numbers."""
    book = Workbook(write_only=True)
    for sheet in sheets:
        page = book.create_sheet(_NOT_IN_SHEET_NAME.sub(" ", sheet.title)[:_MAX_SHEET_NAME_LENGTH])
        page.freeze_panes = "A2"
        for number, header in enumerate(sheet.headers):
            widest = max([len(header), *(len(str(row[number])) for row in sheet.rows)])
            page.column_dimensions[get_column_letter(number + 1)].width = min(widest, _MAX_COLUMN_WIDTH) + 2
        titles = [WriteOnlyCell(page, value=_xlsx_cell(header)) for header in sheet.headers]
        for title in titles:
            title.font = Font(bold=True)
        page.append(titles)
        for row in sheet.rows:
            page.append([_xlsx_cell(cell) for cell in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def pdf_file(title: str, subtitle: str, sheets: Sequence[Sheet]) -> bytes:
    """A summary on A4 pages. Signs beyond Latin-1 become `?`: the fonts that every PDF reader has know no others."""
    paper = FPDF(format="A4")
    paper.set_title(_to_latin1(title))
    paper.set_auto_page_break(True, margin=15)
    paper.add_page()
    paper.set_font("Helvetica", "B", 18)
    paper.multi_cell(0, 9, _to_latin1(title), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    paper.set_font("Helvetica", "", 10)
    paper.multi_cell(0, 6, _to_latin1(subtitle), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    for sheet in sheets:
        paper.ln(5)
        paper.set_font("Helvetica", "B", 12)
        paper.multi_cell(0, 7, _to_latin1(sheet.title), new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        paper.set_font("Helvetica", "", 9)
        widths = (2, *(1 for _ in sheet.headers[1:]))
        align = ("LEFT", *("RIGHT" for _ in sheet.headers[1:]))
        heads = FontFace(emphasis="BOLD", fill_color=(226, 238, 233))
        with paper.table(col_widths=widths, text_align=align, headings_style=heads, line_height=5) as table:
            for row in [sheet.headers, *sheet.rows]:
                table.row([_to_latin1("" if cell is None else str(cell)) for cell in row])
    return bytes(paper.output())


def _xlsx_cell(cell: Cell) -> Cell:
    return escape_formula(_CONTROL_CHARACTERS.sub("", cell)) if isinstance(cell, str) else cell


def _to_latin1(words: str) -> str:
    plain = words.translate({0x2013: "-", 0x2014: "-", 0x2026: "...", 0x201C: '"', 0x201D: '"', 0x2019: "'"})
    return plain.encode("latin-1", "replace").decode("latin-1")
