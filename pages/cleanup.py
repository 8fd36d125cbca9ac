"""Limpeza: what would go and for how long it was kept, start it, watch it, and who cleaned before."""

import streamlit as st

from services.db.actor import Role
from services.operations import retention
from ui.kit.i18n import _
from ui.shell import errors, live
from ui.shell.guard import guard
from ui.staff import retention as drawn

# The safety reread for a lost push, and only while a run is on.
REREAD_SECONDS = 10

actor = guard(Role.ADMIN, Role.OPERATOR)
st.title(_("Limpeza"), anchor=False)
st.caption(_("O que ninguém mais vai pedir é apagado depois do prazo: de hora em hora, ou agora mesmo por aqui."))
with errors.stopping():
    newest = retention.list_runs(actor, limit=1)
was_running = bool(newest and newest[0].finished_at is None)


@st.fragment(run_every=REREAD_SECONDS if was_running else None)
def state() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    live.listen("cleanup")
    with errors.stopping():
        runs = retention.list_runs(actor, limit=10)
        under_way = next((run for run in runs if run.finished_at is None), None)
        if (under_way is not None) != was_running:
            st.rerun()
        if under_way is not None:
            drawn.show_progress(under_way)
        else:
            drawn.show_expired(actor, retention.preview_run(actor), runs)
    drawn.show_history(runs)


state()
