"""Enviar: queue a text from one's own session and watch what becomes of it."""

import streamlit as st

from services import sessions
from services.sessions import Status
from ui import brake, compose, errors, live, navigation, session_card, several, uncertain
from ui.guard import guard
from ui.text import _

actor = guard()
st.title(_("Enviar"), anchor=False)
brake.banner()
with errors.stopping():
    session = sessions.get(actor)
if session is None or session.status is not Status.CONNECTED:
    st.warning(_("**Seu WhatsApp não está conectado.** Conecte para poder enviar."), icon=":material/link_off:")
    navigation.link("my_whatsapp.py", _("Ir para Meu WhatsApp"), ":material/qr_code_2:")
else:
    one, many = st.tabs([_("Uma pessoa"), _("Modelo ou várias pessoas")], key="send_tabs", on_change="rerun")
    with one:
        compose.form(actor)
    with many:
        if many.open:
            with errors.stopping():
                several.form(actor)


@st.fragment
def outbox() -> None:
    actor = guard()
    live.listen("message")
    with errors.stopping():
        own = sessions.get(actor)
        if own is not None:
            session_card.out_of_reach(actor, own)
        uncertain.banner(actor)
        compose.recent(actor)


st.subheader(_("Últimas mensagens"), anchor=False)
outbox()
