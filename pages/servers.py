"""Servidores: how full and how well each WPPConnect server is, what to mend, and where new sessions may go."""

import streamlit as st

from services import servers
from services.db.actor import Role
from ui import errors
from ui import servers as drawn
from ui.guard import guard
from ui.text import _

# The worker looks every 20 s.
REREAD_SECONDS = 10

actor = guard(Role.ADMIN, Role.OPERATOR)
with st.container(horizontal=True, vertical_alignment="bottom"):
    st.title(_("Servidores"), anchor=False, width="content")
    st.space("stretch")
    drawn.look_button(actor)
st.caption(_("Onde as sessões rodam. Uma conexão nova vai para o servidor com mais lugares livres."))


@st.fragment(run_every=REREAD_SECONDS)
def state() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    with errors.stopping():
        found = servers.listing(actor)
    drawn.figures(found)
    for server in found:
        drawn.card(actor, server)


state()
