"""The tables of a report on the screen, and for staff the ranking of users."""

import pandas as pd
import streamlit as st

from services.platform.csv_export import Sheet
from services.reporting import reports
from services.reporting.report_model import Ranking, RankingOrder, Report
from ui.kit import pagination
from ui.kit.i18n import _, number
from ui.reporting.report_sheets import list_sheets, ranking_sheet

ORDER_KEY = "report_order"


def chosen_ranking() -> tuple[RankingOrder, int]:
    """By what people are ranked, and which page of them is looked at, counted from 1."""
    return st.session_state.get(ORDER_KEY, "sent"), pagination.get_page_number("report")


def show_tables(found: Report, ranked: Ranking | None) -> None:
    """Why messages failed, what templates and campaigns came to, and for staff who sent how much."""
    sheets = list_sheets(found, None)[1:]
    for sheet in sheets:
        if sheet.rows:
            st.subheader(sheet.title, anchor=False)
            _draw_sheet(sheet)
    if not found.failures:
        st.success(_("Nenhuma falha no período."), icon=":material/check_circle:")
    if ranked is not None:
        _show_ranking(ranked)


def _draw_sheet(sheet: Sheet) -> None:
    written = [[number(cell) if isinstance(cell, int) else cell for cell in row] for row in sheet.rows]
    st.table(pd.DataFrame(written, columns=list(sheet.headers)).set_index(sheet.headers[0]), border="horizontal")


def _show_ranking(ranked: Ranking) -> None:
    orders: dict[RankingOrder, str] = {
        "sent": _("Enviadas"),
        "read": _("Lidas"),
        "failed": _("Falhas"),
        "received": _("Recebidas"),
        "email": _("E-mail"),
    }
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.subheader(_("Por sessão"), anchor=False)
        st.space("stretch")
        st.selectbox(_("Ordem"), list(orders), format_func=lambda one: orders[one], key=ORDER_KEY, width=160)
    with st.container(key="report_ranking"):
        _draw_sheet(ranking_sheet(ranked.rows))
    st.caption(
        _("{total} pessoas com mensagens no período; a resposta é o tempo médio.").format(total=number(ranked.total))
    )
    pagination.show_page_numbers("report", ranked.total, reports.PAGE_SIZE)
