"""Meu WhatsApp: connect by QR or by phone code, see the truth of one's own session, disconnect."""

import streamlit as st

from services.fleet import session as fleet_session
from services.fleet.session import Status
from services.security.break_glass import list_recent_grants
from ui.components import break_glass
from ui.kit.i18n import _
from ui.my_session import number_change, session_card
from ui.shell import errors, live
from ui.shell.guard import guard

# The safety reread for a lost push, and only while pairing.
REREAD_SECONDS = 10

actor = guard()
st.title(_("Meu WhatsApp"), anchor=False)
with errors.stopping():
    was_pairing = (found := fleet_session.get(actor)) is not None and found.status is Status.PAIRING


@st.fragment(run_every=REREAD_SECONDS if was_pairing else None)
def card() -> None:
    actor = guard()
    live.listen("session")
    with errors.stopping():
        session = fleet_session.get(actor)
        looks = list_recent_grants(actor)
    if (session is not None and session.status is Status.PAIRING) != was_pairing:
        st.rerun()
    number_change.show_number_change(actor)
    if session is None or session.status is Status.DISCONNECTED:
        session_card.show_disconnected(actor, session)
    elif session.status is Status.PAIRING:
        session_card.show_pairing(actor, session)
    else:
        session_card.show_connected(actor, session)
    break_glass.list_past_accesses(looks)


card()
