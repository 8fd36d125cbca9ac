"""Enviar: queue a text from one's own session and watch what becomes of it."""

import streamlit as st

from services.fleet import session as fleet_session
from services.fleet.session import Status
from ui.components import kill_switch
from ui.kit.i18n import _
from ui.my_session import session_card
from ui.sending import bulk_send, compose, uncertain
from ui.shell import errors, live, navigation
from ui.shell.guard import guard

actor = guard()
st.title(_("Enviar"), anchor=False)
kill_switch.banner()
with errors.stopping():
    session = fleet_session.get(actor)
if session is None or session.status is not Status.CONNECTED:
    st.warning(_("**Seu WhatsApp não está conectado.** Conecte para poder enviar."), icon=":material/link_off:")
    navigation.link("my_whatsapp.py", _("Ir para Meu WhatsApp"), ":material/qr_code_2:")
else:
    one, many = st.tabs([_("Uma pessoa"), _("Modelo ou várias pessoas")], key="send_tabs", on_change="rerun")
    with one:
        compose.show_form(actor)
    with many:
        if many.open:
            with errors.stopping():
                bulk_send.show_form(actor)


@st.fragment
def outbox() -> None:
    actor = guard()
    live.listen("message")
    with errors.stopping():
        own = fleet_session.get(actor)
        if own is not None:
            session_card.warn_unreachable(actor, own)
        uncertain.banner(actor)
        compose.show_recent(actor)


st.subheader(_("Últimas mensagens"), anchor=False)
outbox()
