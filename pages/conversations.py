"""Conversas: who wrote, each conversation as it goes on, and a search through all of them."""

import streamlit as st

from services import fleet
from ui import broken_glass, conversations, errors, live, navigation
from ui.guard import guard
from ui.text import _

actor = guard()
st.set_page_config(layout="wide")
st.title(_("Conversas"), anchor=False)
whose = conversations.person()
foreign = whose is not None and whose != actor.user_id
with errors.stopping():
    if foreign:
        row = fleet.one(actor, whose) if actor.is_staff else None
        if row is None:
            st.info(_("Escolha uma sessão na lista."), icon=":material/devices:")
            st.stop()
        st.text(row.email)
    elif actor.is_staff:
        navigation.link("sessions.py", _("Conversas de outra pessoa: escolha a sessão"), ":material/devices:")


@st.fragment(run_every=5 if foreign else None)
def desk() -> None:
    actor = guard()
    if not foreign:
        live.listen("message")
    with errors.stopping():
        if conversations.admitted(actor, whose):
            conversations.desk(actor, whose)


desk()
if not foreign:
    with errors.stopping():
        conversations.composer(actor)
        broken_glass.told_of_chats(actor)
