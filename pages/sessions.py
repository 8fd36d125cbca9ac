"""Sessões: the fleet's figures, what is wrong, and every user's session with what the server says beside the proof."""

import streamlit as st

from services import findings, settings, waves
from services import fleet as service
from services.db.actor import Role
from services.fleet import Show
from ui import errors, fleet, live
from ui.guard import guard
from ui.text import _

guard(Role.ADMIN, Role.OPERATOR)
st.set_page_config(layout="wide")
st.title(_("Sessões"), anchor=False)


@st.fragment
def everything() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    live.listen("fleet")
    with errors.stopping():
        fleet.figures(actor)
        fleet.alerts(findings.listing(actor))
    find, narrow, where, sort = st.columns([4, 2, 2, 3], vertical_alignment="bottom")
    search = find.text_input(_("Buscar"), placeholder=_("E-mail, nome ou número"), key="search")
    show = narrow.selectbox(_("Estado"), [None, *Show], format_func=fleet.show_word, placeholder=_("Todos"), key="show")
    numbers = range(1, len(settings.get().servers()) + 1)
    server = where.selectbox(
        _("Servidor"), [None, *numbers], format_func=fleet.server_choice, placeholder=_("Todos"), key="server"
    )
    orders = fleet.orders()
    order, descending = orders[sort.selectbox(_("Ordem"), list(orders), key="order")]
    with errors.stopping():
        found = service.rows(
            actor,
            search=search,
            show=show,
            server=server,
            order=order,
            descending=descending,
            page=fleet.page_number(),
        )
        wave = waves.newest(actor)
    fleet.table(actor, found)
    fleet.restarts(actor, wave, server)


everything()
