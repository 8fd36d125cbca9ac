"""Servidores: how full and how well each WPPConnect server is, what to mend, and where new sessions may go."""

import streamlit as st

from services.db.actor import Role
from services.fleet import servers
from ui.kit.i18n import _
from ui.shell import errors
from ui.shell.guard import guard
from ui.staff import servers as drawn

# The worker looks every 20 s.
REREAD_SECONDS = 10

actor = guard(Role.ADMIN, Role.OPERATOR)
with st.container(horizontal=True, vertical_alignment="bottom"):
    st.title(_("Servidores"), anchor=False, width="content")
    st.space("stretch")
    drawn.show_check_button(actor)
st.caption(_("Onde as sessões rodam. Uma conexão nova vai para o servidor com mais lugares livres."))


@st.fragment(run_every=REREAD_SECONDS)
def state() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    with errors.stopping():
        found = servers.list_servers(actor)
    drawn.show_figures(found)
    for server in found:
        drawn.show_card(actor, server)


state()
