"""Agendamentos: what is to be sent at a set time, once or again and again, as a list and as a calendar."""

import streamlit as st

from services import schedules
from ui import brake, errors, live, navigation
from ui import schedules as drawn
from ui.guard import guard
from ui.text import _

actor = guard()
st.title(_("Agendamentos"), anchor=False)
brake.banner()
which = navigation.chosen()


@st.fragment
def overview() -> None:
    actor = guard()
    live.listen("schedule")
    views = [_("Lista"), _("Calendário")]
    view = st.segmented_control(_("Ver como"), views, default=views[0], required=True, key="schedule_view")
    with errors.stopping():
        if view == views[1]:
            drawn.calendar(actor)
        else:
            drawn.listing(actor)


if which is None:
    if st.button(_("Novo agendamento"), type="primary", icon=":material/add:", key="schedule_new"):
        navigation.choose(navigation.NEW)
    overview()
else:
    if st.button(_("Todos os agendamentos"), icon=":material/arrow_back:", type="tertiary", key="schedules_back"):
        navigation.choose(None)
    with errors.stopping():
        drawn.form(actor, None if which == navigation.NEW else schedules.get(actor, which))
