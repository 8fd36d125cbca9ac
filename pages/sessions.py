"""Sessões: the fleet's figures, what is wrong, and every user's session with what the server says beside the proof."""

import streamlit as st

from services import settings
from services.db.actor import Role
from services.fleet import incidents, overview, rolling_restart
from services.fleet.overview import SessionFilter
from ui.kit import pagination
from ui.kit.i18n import _
from ui.shell import errors, live
from ui.shell.guard import guard
from ui.staff import fleet

guard(Role.ADMIN, Role.OPERATOR)
st.set_page_config(layout="wide")
st.title(_("Sessões"), anchor=False)


@st.fragment
def everything() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    live.listen("fleet")
    with errors.stopping():
        fleet.show_figures(actor)
        fleet.show_incidents(incidents.list_incidents(actor))
    find, narrow, where, sort = st.columns([4, 2, 2, 3], vertical_alignment="bottom")
    search = find.text_input(_("Buscar"), placeholder=_("E-mail, nome ou número"), key="search")
    show = narrow.selectbox(
        _("Estado"), [None, *SessionFilter], format_func=fleet.filter_word, placeholder=_("Todos"), key="show"
    )
    numbers = range(1, len(settings.get().wppconnect.servers()) + 1)
    server = where.selectbox(
        _("Servidor"), [None, *numbers], format_func=fleet.short_server_word, placeholder=_("Todos"), key="server"
    )
    orders = fleet.order_choices()
    order, descending = orders[sort.selectbox(_("Ordem"), list(orders), key="order")]
    with errors.stopping():
        found = overview.list_rows(
            actor,
            search=search,
            show=show,
            server=server,
            order=order,
            descending=descending,
            page=pagination.get_page_number("fleet"),
        )
        restart = rolling_restart.get_newest(actor)
    fleet.show_table(actor, found)
    fleet.show_rolling_restart(actor, restart, server)


everything()
