"""Diagnóstico: the three guides as live checks of one session, each with its evidence and the next step."""

import streamlit as st

from services import diagnostics
from ui import diagnostics as drawn
from ui import errors, live
from ui.guard import guard
from ui.text import _

actor = guard()
st.title(_("Diagnóstico"), anchor=False)
st.caption(_("Perguntamos agora ao servidor e ao WhatsApp e mostramos o que cada resposta prova."))
with errors.stopping():
    subject = drawn.subject(actor)
if subject is None:
    st.stop()


@st.fragment
def checks() -> None:
    actor = guard()
    live.listen("fleet" if actor.is_staff else "session")
    with errors.stopping():
        asked = drawn.asked(actor, subject)
        report = diagnostics.examine(actor, subject.user_id, asked)
    drawn.conclusion(actor, subject, report, asked)
    drawn.guides(actor, subject, report)


checks()
