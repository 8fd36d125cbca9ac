"""The kill switch on the screen: a banner on every page that sends, and a switch for staff."""

from functools import partial
from uuid import UUID

import streamlit as st

from services.db.actor import Actor
from services.messaging import kill_switch
from services.messaging.kill_switch import SendingStop
from ui.components import confirm
from ui.kit import dates
from ui.kit.i18n import _
from ui.shell import errors, navigation
from ui.shell.guard import guard


@st.fragment
def banner() -> None:
    """That nothing leaves, since when and how it goes on; or the button that stops everything. For every page that
    sends. It asks nothing back: whoever needs it is in a hurry, and one more click undoes it.
    """
    actor = guard()
    with errors.stopping():
        found = kill_switch.get_stop(actor)
    with errors.shown():
        _banner(actor, found)


def _banner(actor: Actor, found: SendingStop | None) -> None:
    if found is None:
        if st.button(_("Parar tudo"), icon=":material/front_hand:", key="stop_sending", type="tertiary"):
            _stop_sending(actor)
        return
    if found.stopped_for is not None:
        st.error(
            _("**Este é outro número.** O que era do número anterior espera: diga em “Meu WhatsApp” o que fazer."),
            icon=":material/phonelink_ring:",
        )
        navigation.link("my_whatsapp.py", _("Decidir"), ":material/qr_code_2:")
        return
    since = dates.short_time(found.stopped_at)
    if found.stopped_by_staff and not actor.is_staff:
        words = _("**A equipe parou os seus envios às {since}.** O que está na fila espera. Fale com o suporte.")
        st.error(words.format(since=since), icon=":material/front_hand:")
        return
    words = _("**Os envios estão parados desde {since}.** Nada sai: fila, agendamentos e campanhas esperam.")
    st.error(words.format(since=since), icon=":material/front_hand:")
    if st.button(_("Voltar a enviar"), icon=":material/play_arrow:", key="resume_sending", type="primary"):
        kill_switch.resume_sending(actor)
        st.rerun()


def switch(actor: Actor, user_id: UUID) -> None:
    """For staff: stop what somebody sends, or let it go on."""
    if kill_switch.get_stop(actor, user_id) is None:
        if st.button(_("Parar envios"), icon=":material/front_hand:", key="stop_sending_other"):
            confirm.stop_sending(partial(_stop_sending, user_id=user_id))
    elif st.button(_("Liberar envios"), icon=":material/play_arrow:", key="resume_sending_other"):
        with errors.shown():
            kill_switch.resume_sending(actor, user_id)
            st.rerun()


def _stop_sending(actor: Actor, user_id: UUID | None = None) -> None:
    with errors.shown():
        kill_switch.stop_sending(actor, user_id)
        st.rerun()
