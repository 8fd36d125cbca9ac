"""One session: what it is and how that is proved, what was done to it, what came from it, and what can be done."""

import streamlit as st

from services import findings, fleet, timeline
from services.db.actor import Role
from ui import errors, live, navigation
from ui import session_details as details
from ui.guard import guard
from ui.text import _

guard(Role.ADMIN, Role.OPERATOR)
user_id = navigation.named("user")
if user_id is None:
    st.info(_("Escolha uma sessão na lista."), icon=":material/devices:")
    navigation.link("sessions.py", _("Ver as sessões"), ":material/devices:")
    st.stop()


@st.fragment
def everything() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    live.listen("fleet")
    with errors.stopping():
        row = fleet.one(actor, user_id)
        if row is None:
            details.nobody()
            return
        # Each in a place of its own: a warning that comes or goes moves no button below it.
        with st.container():
            details.head(row)
        with st.container():
            details.actions(actor, row)
        story, deliveries, health = st.tabs([_("Linha do tempo"), _("Últimos eventos"), _("Saúde")])
        with story:
            details.story(timeline.of(actor, user_id, details.page_number()))
        with deliveries:
            details.deliveries(timeline.deliveries(actor, user_id))
        with health:
            details.health(findings.listing(actor, user_id=user_id, ended=True))


everything()
