"""Sessões: every user and their session, what the server says beside what was proved; connect and disconnect."""

import streamlit as st

from services import sessions
from services.db.actor import Role
from services.sessions import Status
from ui import errors, fleet, live, status
from ui.guard import guard
from ui.text import _

actor = guard(Role.ADMIN, Role.OPERATOR)
st.set_page_config(layout="wide")
st.title(_("Sessões"), anchor=False)

find, narrow = st.columns([3, 2], vertical_alignment="bottom")
search = find.text_input(_("Buscar"), placeholder=_("E-mail, nome ou número"), key="search")
chosen = narrow.selectbox(
    _("Estado"), [None, *Status], format_func=lambda one: status.session_word(one) if one else _("Todos"), key="status"
)


@st.fragment
def table() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    live.listen("fleet")
    with errors.stopping():
        fleet.figures(sessions.counts(actor))
        page = fleet.page_number()
        found = sessions.fleet(actor, search=search, status=chosen, page=page)
    fleet.table(actor, found)


table()
