"""Limpeza: what would go and for how long it was kept, start it, watch it, and who cleaned before."""

import streamlit as st

from services import cleanup
from services.db.actor import Role
from ui import cleanup as drawn
from ui import errors, live
from ui.guard import guard
from ui.text import _

# The safety reread for a lost push, and only while a run is on.
REREAD_SECONDS = 10

actor = guard(Role.ADMIN, Role.OPERATOR)
st.title(_("Limpeza"), anchor=False)
st.caption(_("O que ninguém mais vai pedir é apagado depois do prazo: de hora em hora, ou agora mesmo por aqui."))
with errors.stopping():
    newest = cleanup.history(actor, limit=1)
was_running = bool(newest and newest[0].finished_at is None)


@st.fragment(run_every=REREAD_SECONDS if was_running else None)
def state() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    live.listen("cleanup")
    with errors.stopping():
        runs = cleanup.history(actor, limit=10)
        under_way = next((run for run in runs if run.finished_at is None), None)
        if (under_way is not None) != was_running:
            st.rerun()
        if under_way is not None:
            drawn.progress(under_way)
        else:
            drawn.offer(actor, cleanup.preview(actor), runs)
    drawn.history(runs)


state()
