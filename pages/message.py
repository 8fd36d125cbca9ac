"""Por que não chegou?: one message's story, and what it comes to."""

import streamlit as st

from services import dossier
from ui import dossier as drawn
from ui import errors, live, navigation
from ui.guard import guard
from ui.text import _

actor = guard()
st.title(_("Por que não chegou?"), anchor=False)
wanted = navigation.named()
if wanted is None:
    st.info(_("Escolha uma mensagem na lista: cada uma tem o seu “Por que não chegou?”."), icon=":material/quiz:")
    navigation.link("send.py", _("Ver as últimas mensagens"), ":material/send:")
    st.stop()


@st.fragment
def story() -> None:
    actor = guard()
    live.listen("message")
    with errors.stopping():
        found = dossier.of(actor, wanted)
        drawn.head(actor, found)
    drawn.conclusion(actor, found)
    drawn.moments(found)


story()
