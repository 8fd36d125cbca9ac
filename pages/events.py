"""Eventos: every delivery that the receiver stored, what became of it, what it would change, and its replay."""

import streamlit as st

from services import replay
from services.db.actor import Role
from ui import errors, event_card, event_log
from ui.guard import guard
from ui.text import _

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
        event_log.rates(replay.rates(actor))


rates()
with errors.stopping():
    wanted = event_log.filters(replay.kinds(actor))
    any_failed = replay.count_failed(actor, wanted) > 0
chosen = event_log.chosen()


# What is chosen must not move away under the hand.
@st.fragment(run_every=None if chosen else LIST_SECONDS)
def log() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    with errors.stopping():
        now_chosen = event_log.chosen()
        found = event_log.kept(actor) if now_chosen else replay.page(actor, wanted, event_log.cursor())
        now_failed = replay.count_failed(actor, wanted) > 0
    event_log.listing(found)
    if (now_chosen, now_failed) != (chosen, any_failed):
        st.rerun()


@st.fragment
def actions() -> None:
    actor = guard(Role.ADMIN, Role.OPERATOR)
    with errors.stopping():
        event_card.actions(actor, wanted, chosen, any_failed=any_failed)


log()
actions()
