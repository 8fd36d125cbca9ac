"""Agendamentos: what is to be sent at a set time, once or again and again, as a list and as a calendar."""

import streamlit as st

from services.outreach import schedules
from ui.components import kill_switch
from ui.kit.i18n import _
from ui.sending import schedule_calendar, schedule_form
from ui.sending import schedules as drawn
from ui.shell import errors, live, navigation
from ui.shell.guard import guard

actor = guard()
st.title(_("Agendamentos"), anchor=False)
kill_switch.banner()
which = navigation.chosen_item()


@st.fragment
def overview() -> None:
    actor = guard()
    live.listen("schedule")
    views = [_("Lista"), _("Calendário")]
    view = st.segmented_control(_("Ver como"), views, default=views[0], required=True, key="schedule_view")
    with errors.stopping():
        if view == views[1]:
            schedule_calendar.show_calendar(actor)
        else:
            drawn.show_list(actor)


if which is None:
    if st.button(_("Novo agendamento"), type="primary", icon=":material/add:", key="schedule_new"):
        navigation.open_item(navigation.NEW)
    overview()
else:
    if st.button(_("Todos os agendamentos"), icon=":material/arrow_back:", type="tertiary", key="schedules_back"):
        navigation.open_item(None)
    with errors.stopping():
        schedule_form.show_form(actor, None if which == navigation.NEW else schedules.get_schedule(actor, which))
