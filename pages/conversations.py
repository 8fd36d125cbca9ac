"""Conversas: who wrote, each conversation as it goes on, and a search through all of them."""

import streamlit as st

from services.fleet import overview
from ui.components import break_glass
from ui.inbound import conversations, open_conversation, reply_box
from ui.kit.i18n import _
from ui.shell import errors, live, navigation
from ui.shell.guard import guard

actor = guard()
st.set_page_config(layout="wide")
st.title(_("Conversas"), anchor=False)
whose = open_conversation.chosen_user_id()
foreign = whose is not None and whose != actor.user_id
with errors.stopping():
    if foreign:
        row = overview.get_row(actor, whose) if actor.is_staff else None
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
        if conversations.is_admitted(actor, whose):
            conversations.show_conversations(actor, whose)


desk()
if not foreign:
    with errors.stopping():
        reply_box.show_reply_box(actor)
        break_glass.list_past_chat_accesses(actor)
