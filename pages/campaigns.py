"""Campanhas: one template to many, at a pace that keeps the number safe; one campaign with its progress and result."""

import streamlit as st

from services.outreach import campaign_progress, campaign_state
from services.outreach.campaign_state import OPEN_STATES, CampaignState
from ui.components import kill_switch
from ui.kit.i18n import _
from ui.sending import campaign_form, campaign_pacing, campaign_results, opt_out_list
from ui.sending import campaign_progress as sending_campaign_progress
from ui.sending import campaigns as drawn
from ui.shell import errors, live, navigation
from ui.shell.guard import guard

actor = guard()
st.title(_("Campanhas"), anchor=False)
kill_switch.banner()
which = navigation.chosen_item()


@st.fragment
def overview() -> None:
    actor = guard()
    live.listen("campaign")
    with errors.stopping():
        drawn.show_list(actor)
        opt_out_list.show_opt_outs(actor)


@st.fragment
def one() -> None:
    actor = guard()
    live.listen("campaign")
    with errors.stopping():
        campaign = campaign_state.get_campaign(actor, which)
        far = campaign_progress.get_progress(actor, which)
        sending_campaign_progress.show_head(actor, campaign, far)
        if campaign.state is CampaignState.DRAFT:
            sending_campaign_progress.show_draft(actor, campaign)
            return
        state, result, rules = st.tabs([_("Andamento"), _("Resultado"), _("Ritmo")])
        with state:
            sending_campaign_progress.show_progress(actor, campaign, far)
        with result:
            campaign_results.show_results(actor, campaign)
        with rules:
            if campaign.state in OPEN_STATES:
                campaign_pacing.show_pacing(actor, campaign)
            else:
                st.caption(_("Esta campanha já terminou."))


if which is None:
    if st.button(_("Nova campanha"), type="primary", icon=":material/add:", key="campaign_new"):
        drawn.open_campaign(navigation.NEW)
    st.caption(_("Um modelo para muitos, aos poucos: no horário e no limite do dia, uma vez para cada pessoa."))
    overview()
else:
    if st.button(_("Todas as campanhas"), icon=":material/arrow_back:", type="tertiary", key="campaigns_back"):
        drawn.open_campaign(None)
    if which == navigation.NEW:
        with errors.stopping():
            campaign_form.show_form(actor)
    else:
        one()
