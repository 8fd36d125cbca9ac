"""Lacunas: when somebody was away, what was brought back of what came in meanwhile, and what could not be."""

import streamlit as st

from services.inbound import outages
from ui.inbound import outages as drawn
from ui.kit.i18n import _
from ui.shell import errors, live
from ui.shell.guard import guard
from ui.shell.navigation import STAFF

# What is read for other people's sessions comes without a push.
REREAD_SECONDS = 10

actor = guard()
st.title(_("Lacunas"), anchor=False)
st.caption(
    _("O que chegou enquanto o console, o servidor ou o WhatsApp esteve fora do ar é lido de volta das conversas.")
)
everybody = False
if actor.role in STAFF:
    own, all_of_them = _("Do meu WhatsApp"), _("De todos")
    chosen = st.segmented_control(
        _("De quem"), [own, all_of_them], default=all_of_them, required=True, key="outages_whose"
    )
    everybody = chosen == all_of_them


@st.fragment(run_every=REREAD_SECONDS)
def listed() -> None:
    actor = guard()
    live.listen("message")
    with errors.stopping():
        found = outages.list_outages(actor) if everybody else outages.list_own(actor)
        if found:
            drawn.show_figures(found)
        else:
            drawn.explain_none()
        for one in found:
            drawn.show_card(actor, one)


listed()
