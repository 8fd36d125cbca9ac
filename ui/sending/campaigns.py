"""The list of campaigns, and what the other views of a campaign share."""

from collections.abc import Callable
from typing import Literal
from uuid import UUID

import streamlit as st

from services.db.actor import Actor
from services.outreach import campaigns
from services.outreach.campaign_progress import CampaignProgress
from services.outreach.campaign_state import CampaignState
from ui.kit import dates
from ui.kit.i18n import _
from ui.shell import errors, navigation

# Where each page of the result begins, so that one can go back.
RESULT_PAGES = "campaign_pages"

Colour = Literal["blue", "green", "orange", "red", "gray"]


def open_campaign(which: UUID | str | None) -> None:
    """Go to one campaign, to a new one, or back to the list."""
    st.session_state.pop(RESULT_PAGES, None)
    navigation.open_item(which)


def show_list(actor: Actor) -> None:
    """Every campaign with how far it is."""
    found = campaigns.list_campaigns(actor)
    if not found:
        st.info(
            _("Nenhuma campanha. Com **Nova campanha** um modelo vai a muitas pessoas, no ritmo que protege o número."),
            icon=":material/campaign:",
        )
    for one, far in found:
        with st.container(border=True, key=f"campaign_{one.id}"):
            with st.container(horizontal=True, vertical_alignment="center"):
                st.text(one.name)
                state_badge(one.state)
                st.space("stretch")
                if st.button(_("Abrir"), icon=":material/open_in_new:", key=f"open_{one.id}"):
                    open_campaign(one.id)
            progress_bar(far)
            st.caption(_("{template} · criada {ago}").format(template=one.template, ago=dates.ago(one.created_at)))


def state_badge(state: CampaignState) -> None:
    words: dict[CampaignState, tuple[str, Colour, str]] = {
        CampaignState.DRAFT: (_("Rascunho"), "gray", "edit_note"),
        CampaignState.ACTIVE: (_("Enviando"), "blue", "send"),
        CampaignState.PAUSED: (_("Pausada"), "orange", "pause"),
        CampaignState.CANCELLED: (_("Cancelada"), "red", "cancel"),
        CampaignState.ENDED: (_("Terminada"), "green", "done_all"),
    }
    word, colour, icon = words[state]
    st.badge(word, color=colour, icon=f":material/{icon}:")


def progress_bar(far: CampaignProgress) -> None:
    st.progress(far.decided / max(far.total, 1), text=_("{done} de {total}").format(done=far.decided, total=far.total))


def act_and_redraw(act: Callable[[], object]) -> None:
    with errors.shown():
        act()
        st.rerun()
