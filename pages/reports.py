"""Relatórios: what a period came to beside the one before, for oneself; for staff of everybody or of one person."""

import streamlit as st

from services.reporting import reports
from ui.kit.i18n import _
from ui.reporting import period_choice, report_charts, report_figures, report_files, report_tables
from ui.shell import errors, live
from ui.shell.guard import guard

actor = guard()
st.set_page_config(layout="wide")
st.title(_("Relatórios"), anchor=False)
period, whose = period_choice.choose_report(actor)


@st.fragment
def everything() -> None:
    actor = guard()
    if period_choice.is_under_way(period):
        live.listen("report")
    with errors.stopping():
        found = reports.get_report(actor, period, whose)
        ranked = (
            reports.get_ranking(actor, period, *report_tables.chosen_ranking())
            if actor.is_staff and whose is None
            else None
        )
    if report_figures.is_empty(found):
        report_figures.explain_empty()
        return
    report_files.show_downloads(found, ranked)
    report_figures.show_figures(found)
    report_charts.show_charts(found)
    report_tables.show_tables(found, ranked)


everything()
