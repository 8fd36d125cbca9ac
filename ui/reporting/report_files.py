"""A report as files to download."""

import streamlit as st

from services.platform import csv_export, documents
from services.reporting.report_model import Ranking, Report
from ui.kit import dates
from ui.kit.i18n import _
from ui.reporting.report_sheets import list_sheets, points_sheet

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def show_downloads(found: Report, ranked: Ranking | None) -> None:
    """Everything that is shown, as files."""
    name = f"plushify-{found.period.first:%Y%m%d}-{found.period.last:%Y%m%d}"
    sheets = [one for one in list_sheets(found, ranked) if one.rows]
    title = _("Relatório do WhatsApp")
    first, last = dates.calendar_day(found.period.first), dates.calendar_day(found.period.last)
    days = f"{first} – {last} · {found.period.zone.replace('_', ' ')}"
    with st.popover(_("Baixar"), icon=":material/download:"):
        st.download_button(
            _("Resumo para imprimir (PDF)"),
            lambda: documents.pdf_file(title, days, sheets),
            f"{name}.pdf",
            "application/pdf",
            icon=":material/print:",
            on_click="ignore",
            key="report_pdf",
        )
        st.download_button(
            _("Todas as tabelas (XLSX)"),
            lambda: documents.xlsx_file([*sheets, points_sheet(found)]),
            f"{name}.xlsx",
            XLSX,
            icon=":material/table:",
            on_click="ignore",
            key="report_xlsx",
        )
        for position, sheet in enumerate([*sheets, points_sheet(found)]):
            st.download_button(
                _("{table} (CSV)").format(table=sheet.title),
                csv_export.csv_file(sheet),
                f"{name}-{position + 1}.csv",
                "text/csv",
                on_click="ignore",
                key=f"report_csv_{position}",
            )
