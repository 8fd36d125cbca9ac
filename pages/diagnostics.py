"""Diagnóstico: the three guides as live checks of one session, each with its evidence and the next step."""

import streamlit as st

from services.diagnostics import session_checks
from ui.diagnostics import session_checks as drawn
from ui.kit.i18n import _
from ui.shell import errors, live
from ui.shell.guard import guard

actor = guard()
st.title(_("Diagnóstico"), anchor=False)
st.caption(_("Perguntamos agora ao servidor e ao WhatsApp e mostramos o que cada resposta prova."))
with errors.stopping():
    subject = drawn.choose_subject(actor)
if subject is None:
    st.stop()


@st.fragment
def checks() -> None:
    actor = guard()
    live.listen("fleet" if actor.is_staff else "session")
    with errors.stopping():
        asked = drawn.get_server_answer(actor, subject)
        report = session_checks.examine(actor, subject.user_id, asked)
    drawn.show_conclusion(actor, subject, report, asked)
    drawn.show_guides(actor, subject, report)


checks()
