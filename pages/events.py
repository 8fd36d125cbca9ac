"""Eventos: every delivery that the receiver stored, what became of it, what it would change, and its replay."""

import streamlit as st

from services.db.actor import Role
from services.inbound import event_rates, event_replay
from services.inbound.event_log import list_events, list_kinds
from ui.kit.i18n import _
from ui.shell import errors
from ui.shell.guard import guard
from ui.staff import event_card, event_log

# Asked for, not pushed: a notification more for each delivery would be the receiver's to pay.
LIST_SECONDS = 3
RATES_SECONDS = 15

actor = guard(Role.ADMIN, Role.OPERATOR)
st.set_page_config(layout="wide")
st.title(_("Eventos"), anchor=False)


@st.fragment(run_every=RATES_SECONDS)
def rates() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    with errors.stopping():
        event_log.show_rates(event_rates.get_rates(actor))


rates()
with errors.stopping():
    wanted = event_log.choose_filter(list_kinds(actor))
    any_failed = event_replay.count_failed(actor, wanted) > 0
chosen = event_log.chosen_ids()


# What is chosen must not move away under the hand.
@st.fragment(run_every=None if chosen else LIST_SECONDS)
def log() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    with errors.stopping():
        now_chosen = event_log.chosen_ids()
        found = event_log.reload_page(actor) if now_chosen else list_events(actor, wanted, event_log.page_cursor())
        now_failed = event_replay.count_failed(actor, wanted) > 0
    event_log.show_list(found)
    if (now_chosen, now_failed) != (chosen, any_failed):
        st.rerun()


@st.fragment
def actions() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    with errors.stopping():
        event_card.show_actions(actor, wanted, chosen, any_failed=any_failed)


log()
actions()
