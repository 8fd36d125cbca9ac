"""One session: what it is and how that is proved, what was done to it, what came from it, and what can be done."""

import streamlit as st

from services.db.actor import Role
from services.fleet import incidents, overview, own_number, timeline
from ui.components import empty_states
from ui.kit import pagination
from ui.kit.i18n import _
from ui.shell import errors, live, navigation
from ui.shell.guard import guard
from ui.staff import session_details as details

guard(Role.ADMIN, Role.OPERATOR)
user_id = navigation.id_in_address("user")
if user_id is None:
    st.info(_("Escolha uma sessão na lista."), icon=":material/devices:")
    navigation.link("sessions.py", _("Ver as sessões"), ":material/devices:")
    st.stop()


@st.fragment
def everything() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    live.listen("fleet")
    with errors.stopping():
        row = overview.get_row(actor, user_id)
        if row is None:
            empty_states.no_such_user()
            return
        # Each in a place of its own: a warning that comes or goes moves no button below it.
        with st.container():
            details.show_head(row, own_number.get_change(actor, user_id))
        with st.container():
            details.show_actions(actor, row)
        story, deliveries, health = st.tabs([_("Linha do tempo"), _("Últimos eventos"), _("Saúde")])
        with story:
            details.show_timeline(timeline.list_entries(actor, user_id, pagination.get_page_number("timeline")))
        with deliveries:
            details.show_deliveries(timeline.list_deliveries(actor, user_id))
        with health:
            details.show_incidents(incidents.list_incidents(actor, user_id=user_id, ended=True))


everything()
