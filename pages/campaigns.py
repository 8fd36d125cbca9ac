"""Campanhas: one template to many, at a pace that keeps the number safe; one campaign with its progress and result."""

import streamlit as st

from services import campaigns
from services.campaigns import OPEN, State
from ui import brake, errors, live, navigation
from ui import campaigns as drawn
from ui.guard import guard
from ui.text import _

actor = guard()
st.title(_("Campanhas"), anchor=False)
brake.banner()
which = navigation.chosen()


@st.fragment
def overview() -> None:
    actor = guard()
    live.listen("campaign")
    with errors.stopping():
        drawn.listing(actor)
        drawn.silence(actor)


@st.fragment
def one() -> None:
    actor = guard()
    live.listen("campaign")
    with errors.stopping():
        campaign = campaigns.get(actor, which)
        far = campaigns.progress(actor, which)
        drawn.head(actor, campaign, far)
        if campaign.state is State.DRAFT:
            drawn.draft(actor, campaign)
            return
        state, result, rules = st.tabs([_("Andamento"), _("Resultado"), _("Ritmo")])
        with state:
            drawn.progress(actor, campaign, far)
        with result:
            drawn.result(actor, campaign)
        with rules:
            if campaign.state in OPEN:
                drawn.pace(actor, campaign)
            else:
                st.caption(_("Esta campanha já terminou."))


if which is None:
    if st.button(_("Nova campanha"), type="primary", icon=":material/add:", key="campaign_new"):
        drawn.show(navigation.NEW)
    st.caption(_("Um modelo para muitos, aos poucos: no horário e no limite do dia, uma vez para cada pessoa."))
    overview()
else:
    if st.button(_("Todas as campanhas"), icon=":material/arrow_back:", type="tertiary", key="campaigns_back"):
        drawn.show(None)
    if which == navigation.NEW:
        with errors.stopping():
            drawn.form(actor)
    else:
        one()
