"""Por que não chegou?: one message's story, and what it comes to."""

import streamlit as st

from services.diagnostics import message_trace
from ui.components import message_trace as drawn
from ui.kit.i18n import _
from ui.shell import errors, live, navigation
from ui.shell.guard import guard

actor = guard()
st.title(_("Por que não chegou?"), anchor=False)
wanted = navigation.id_in_address()
if wanted is None:
    st.info(_("Escolha uma mensagem na lista: cada uma tem o seu “Por que não chegou?”."), icon=":material/quiz:")
    navigation.link("send.py", _("Ver as últimas mensagens"), ":material/send:")
    st.stop()


@st.fragment
def story() -> None:
    actor = guard()
    live.listen("message")
    with errors.stopping():
        found = message_trace.get_trace(actor, wanted)
        drawn.show_message(actor, found)
    drawn.show_conclusion(actor, found)
    drawn.show_steps(found)


story()
