"""Meu WhatsApp: connect by QR or by phone code, see the truth of one's own session, disconnect."""

import streamlit as st

from services import glass, sessions
from services.sessions import Status
from ui import broken_glass, errors, live, session_card
from ui.guard import guard
from ui.text import _

# The safety reread for a lost push, and only while pairing.
REREAD_SECONDS = 10

actor = guard()
st.title(_("Meu WhatsApp"), anchor=False)
with errors.stopping():
    was_pairing = (found := sessions.get(actor)) is not None and found.status is Status.PAIRING


@st.fragment(run_every=REREAD_SECONDS if was_pairing else None)
def card() -> None:
    actor = guard()
    live.listen("session")
    with errors.stopping():
        session = sessions.get(actor)
        looks = glass.over(actor)
    if (session is not None and session.status is Status.PAIRING) != was_pairing:
        st.rerun()
    if session is None or session.status is Status.DISCONNECTED:
        session_card.offer(actor, session)
    elif session.status is Status.PAIRING:
        session_card.follow(actor, session)
    else:
        session_card.show(actor, session)
    broken_glass.told(looks)


card()
