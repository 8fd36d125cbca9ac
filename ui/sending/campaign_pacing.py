"""The pacing of one campaign, within the installation's limits."""

from datetime import time

import streamlit as st

from services.db.actor import Actor
from services.outreach import campaign_rules, campaigns
from services.outreach.campaign_rules import Pacing
from services.outreach.campaign_state import Campaign, CampaignState
from ui.kit.i18n import _
from ui.sending.campaigns import act_and_redraw


def pacing_fields(one: Campaign) -> Pacing:
    """The rules of a campaign within the installation's, each with what it is for."""
    most, now = campaign_rules.get_limits(), one.pacing
    with st.expander(_("Ritmo e limites"), icon=":material/speed:", expanded=one.state is not CampaignState.DRAFT):
        opens, closes = st.columns(2)
        begin = opens.time_input(_("Começa às"), value=now.opens, key=f"{one.id}_opens")
        end = closes.time_input(_("Para às"), value=now.closes, key=f"{one.id}_closes", help=_("00:00 é meia-noite."))
        st.caption(
            _("Esta instalação envia das {opens} às {closes}, no seu horário.").format(
                opens=f"{most.opens:%H:%M}", closes=f"{most.closes:%H:%M}"
            )
        )
        cap, pace = st.columns(2)
        daily = cap.number_input(
            _("Mensagens por dia"),
            1,
            most.cap,
            value=min(now.cap, most.cap),
            key=f"{one.id}_cap",
            help=_("Deste número, somando todas as campanhas. Um número novo começa com menos e cresce dia a dia."),
        )
        seconds = pace.number_input(
            _("Segundos entre duas"),
            float(most.pace),
            86_400.0,
            value=max(float(now.pace), float(most.pace)),
            key=f"{one.id}_pace",
            help=_("Em média; cada intervalo varia, como o de uma pessoa."),
        )
        share = st.slider(
            _("Parte do dia para quem não escreveu a você (%)"),
            0,
            round(most.cold_share * 100),
            value=round(min(now.cold_share, most.cold_share) * 100),
            key=f"{one.id}_share",
            help=_("Mensagens a quem não conhece você são as que mais derrubam números."),
        )
    return Pacing(begin or time.min, end or time.min, int(daily), share / 100, float(seconds))


def show_pacing(actor: Actor, one: Campaign) -> None:
    """Change the rules of a campaign that is under way."""
    wanted = pacing_fields(one)
    if st.button(_("Guardar ritmo"), icon=":material/save:", key="campaign_pace", disabled=wanted == one.pacing):
        act_and_redraw(lambda: campaigns.set_pacing(actor, one.id, wanted))
