"""Cells that a spreadsheet would take for formulas."""

from services.platform.csv_export import Sheet

FORMULA_CELLS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "  =1",
    "a;=1",
    "a,@b",
    "\r\n=cmd|' /C calc'!A0",
    "\x00=1",
    "normal",
]
FORMULA_SHEET = Sheet("Por modelo: [a/b]?*", ["Modelo", "Mensagens", "Parte"], [[one, 3, 0.5] for one in FORMULA_CELLS])
