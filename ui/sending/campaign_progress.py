"""One campaign: its forecast and confirmation, how far it is, what it waits for."""

from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import pandas as pd
import streamlit as st

from services.db.actor import Actor
from services.messaging import outbox
from services.messaging.state import State as MessageState
from services.outreach import campaign_forecast, campaigns
from services.outreach.campaign_forecast import Forecast, PacingStatus
from services.outreach.campaign_progress import CampaignProgress
from services.outreach.campaign_state import OPEN_STATES, Campaign, CampaignState, RecipientState
from services.outreach.pacing import WaitReason
from ui.components import confirm
from ui.kit import badges, dates
from ui.kit.i18n import _
from ui.sending import restriction, uncertain
from ui.sending.campaign_pacing import pacing_fields
from ui.sending.campaigns import act_and_redraw, progress_bar, state_badge
from ui.shell import errors

FORECAST_LIFETIME = timedelta(seconds=15)


def show_head(actor: Actor, one: Campaign, far: CampaignProgress) -> None:
    """Its name, where it is, and what can be done."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.subheader(one.name, anchor=False, width="content")
        state_badge(one.state)
    st.caption(_("Modelo {name}, versão {version}").format(name=one.template or "—", version=one.template_version))
    with st.container(horizontal=True):
        if one.state is CampaignState.ACTIVE and st.button(_("Pausar"), icon=":material/pause:", key="campaign_pause"):
            act_and_redraw(lambda: campaigns.set_paused(actor, one.id, on=True))
        if one.state is CampaignState.PAUSED and st.button(
            _("Retomar"), type="primary", icon=":material/play_arrow:", key="campaign_resume"
        ):
            act_and_redraw(lambda: campaigns.set_paused(actor, one.id, on=False))
        if one.state in (CampaignState.DRAFT, *OPEN_STATES) and st.button(
            _("Cancelar"), icon=":material/cancel:", key="campaign_cancel"
        ):
            waiting = far.places.get(RecipientState.WAITING, 0)
            confirm.cancel_campaign(one.name, waiting, partial(_cancel_campaign, one.id))


def _cancel_campaign(campaign_id: UUID, actor: Actor) -> None:
    act_and_redraw(lambda: campaigns.cancel(actor, campaign_id))


def show_draft(actor: Actor, one: Campaign) -> None:
    """What would become of it with the pace as it stands, and the confirmation."""
    pacing = pacing_fields(one)
    with errors.stopping():
        found = campaign_forecast.forecast_campaign(actor, one.id, dates.zone_name(), pacing)
    with errors.shown():
        show_forecast(found)
        if st.button(
            _("Começar: {n} mensagens").format(n=found.total),
            type="primary",
            icon=":material/send:",
            key="campaign_confirm",
            disabled=found.total == 0,
        ):
            if pacing != one.pacing:
                campaigns.set_pacing(actor, one.id, pacing)
            act_and_redraw(lambda: campaigns.confirm(actor, one.id, dates.zone_name()))


def show_progress(actor: Actor, one: Campaign, far: CampaignProgress) -> None:
    """How far it is, what it waits for, and when it will end."""
    progress_bar(far)
    arrived = far.count(MessageState.SENT, MessageState.DELIVERED, MessageState.READ)
    figures = {
        _("Aguardando"): far.places.get(RecipientState.WAITING, 0),
        _("Na fila"): far.count(MessageState.QUEUED, MessageState.SENDING, MessageState.ACCEPTED),
        _("Enviadas"): arrived,
        _("Lidas"): far.count(MessageState.READ),
        _("Com problema"): far.count(MessageState.FAILED, MessageState.UNCERTAIN),
        _("Fora"): far.places.get(RecipientState.SKIPPED, 0) + far.places.get(RecipientState.CANCELLED, 0),
    }
    for column, (label, value) in zip(st.columns(3) + st.columns(3), figures.items(), strict=True):
        column.metric(label, value, border=True)
    uncertain.banner(actor, one.id)
    status = campaign_forecast.get_pacing_status(actor)
    if one.state in OPEN_STATES:
        restriction.show_restriction(actor, status)
    if one.state is CampaignState.ACTIVE:
        _show_wait(actor, status)
        show_forecast(_cached_forecast(actor, one))
    elif one.state is CampaignState.PAUSED:
        st.warning(_("**Pausada.** Nada mais sai até você retomar."), icon=":material/pause:")


def _cached_forecast(actor: Actor, one: Campaign) -> Forecast:
    """Kept for a while: the future of ten thousand is not simulated anew for each message that moves."""
    name = f"campaign_{one.id}_forecast"
    kept = st.session_state.get(name)
    if kept is None or kept[0] != one or datetime.now(UTC) - kept[1] > FORECAST_LIFETIME:
        kept = (one, datetime.now(UTC), campaign_forecast.forecast_campaign(actor, one.id, dates.zone_name()))
        st.session_state[name] = kept
    found: Forecast = kept[2]
    return found


def _show_wait(actor: Actor, found: PacingStatus | None) -> None:
    if found is None or found.waiting_reason in (None, WaitReason.PACE):
        return
    held_up = outbox.get_wait(actor) if found.waiting_reason is WaitReason.BACKLOG else None
    if held_up is not None:
        st.info(badges.wait_sentence(held_up), icon=":material/hourglass_empty:")
        return
    until = dates.short_time(found.next_check_at) if found.next_check_at else ""
    words = {
        WaitReason.QUIET: _("Fora do horário de envio: continua às {until}."),
        WaitReason.CAP: _("O limite de hoje foi atingido: continua depois da meia-noite, no horário de envio."),
        WaitReason.COLD: _("O limite de hoje para quem não conhece você foi atingido: continua amanhã."),
        WaitReason.RESTRICTED: _("Só falta quem nunca escreveu a você: o próximo teste é às {until}."),
        WaitReason.DISCONNECTED: _("O WhatsApp está desconectado: continua sozinha quando voltar."),
        WaitReason.STOPPED: _("Os envios estão parados: continua quando voltarem."),
        WaitReason.BACKLOG: _("As últimas mensagens ainda não saíram da fila: continua assim que saírem."),
    }
    st.info(words[found.waiting_reason].format(until=until), icon=":material/hourglass_empty:")


def show_forecast(found: Forecast) -> None:
    """What will become of a campaign, in a sentence, and day by day where it takes several."""
    if not found.total:
        return
    parts = [_("**{n} mensagens**").format(n=found.total)]
    if found.ends_at is None:
        parts.append(_("não termina com estas regras"))
    else:
        parts.append(_("termina {when}").format(when=_end_phrase(found.ends_at)))
    if found.over_today:
        parts.append(_("passa do limite de hoje em {n}").format(n=found.over_today))
    st.markdown(":material/insights: " + ", ".join(parts) + ".")
    if len(found.days) > 1:
        with st.expander(_("Dia a dia ({n} dias)").format(n=len(found.days))):
            rows = [{_("Dia"): dates.calendar_day(day), _("Mensagens"): count} for day, count in found.days.items()]
            st.dataframe(pd.DataFrame(rows), hide_index=True, width="content")


def _end_phrase(moment: datetime) -> str:
    words = dates.short_time(moment)
    return _("às {time}").format(time=words) if len(words) == len("00:00") else _("em {moment}").format(moment=words)
