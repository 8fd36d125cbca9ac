"""That WhatsApp refuses new conversations of the account: what it means for a campaign, and for a message by hand."""

from collections.abc import Collection

import streamlit as st

from services.db.actor import Actor
from services.outreach import campaigns, strangers
from services.outreach.campaign_forecast import PacingStatus
from services.outreach.strangers import Refused
from ui.kit import dates
from ui.kit.i18n import _
from ui.sending.campaigns import act_and_redraw


def show_restriction(actor: Actor, status: PacingStatus | None) -> None:
    """What happens to campaigns while WhatsApp refuses strangers, and what their owner can do."""
    if status is None or status.restricted_at is None or status.probe_at is None:
        return
    told = [
        _("**O WhatsApp está recusando conversas novas desta conta** (desde {since}).").format(
            since=dates.short_time(status.restricted_at)
        ),
        _("Quem já escreveu a você continua recebendo; quem nunca escreveu espera, e ninguém se perde da lista."),
        _("Uma só mensagem testa a partir de {when}; com duas entregues, tudo volta sozinho.").format(
            when=dates.short_time(status.probe_at)
        ),
        _("Não insista por outros meios: cada tentativa alonga a restrição. Responda a quem escrever a você."),
    ]
    with st.container(border=True, key="restriction"):
        st.error("  \n".join(told), icon=":material/block:")
        if st.button(_("Pausar tudo"), icon=":material/pause:", key="campaign_pause_all"):
            act_and_redraw(lambda: campaigns.pause_all(actor))


def warn_of_strangers(actor: Actor, phones: Collection[str]) -> None:
    """Whoever writes to strangers by hand decides; but knows that WhatsApp will most likely refuse it."""
    found = strangers.find_refused(actor, phones)
    if found is not None:
        st.warning(refused_sentence(found, len(phones)), icon=":material/block:")


def refused_sentence(found: Refused, total: int) -> str:
    """Who will most likely get nothing, and until when."""
    if total == 1:
        who = _("Esta pessoa nunca escreveu a você, e o WhatsApp está recusando conversas novas desta conta.")
    else:
        who = _(
            "{n} de {total} nunca escreveram a você, e o WhatsApp está recusando conversas novas desta conta."
        ).format(n=len(found.phones), total=total)
    then = _("A mensagem não deve chegar, e tentar alonga a restrição. O próximo teste é a partir de {when}.")
    return f"{who} {then.format(when=dates.short_time(found.probe_at))}"
