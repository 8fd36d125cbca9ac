"""Relatórios: what a period came to beside the one before, for oneself; for staff of everybody or of one person."""

import streamlit as st

from services import reports
from ui import errors, live
from ui import reports as drawn
from ui.guard import guard
from ui.text import _

actor = guard()
st.set_page_config(layout="wide")
st.title(_("Relatórios"), anchor=False)
period, whose = drawn.choice(actor)


@st.fragment
def everything() -> None:
    actor = guard()
    if drawn.is_under_way(period):
        live.listen("report")
    with errors.stopping():
        found = reports.report(actor, period, whose)
        ranked = reports.ranking(actor, period, *drawn.rank()) if actor.is_staff and whose is None else None
    if drawn.is_empty(found):
        drawn.nothing()
        return
    drawn.downloads(found, ranked)
    drawn.figures(found)
    drawn.charts(found)
    drawn.tables(found, ranked)


everything()
