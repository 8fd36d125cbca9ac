"""The kill switch on the screen: a banner on every page that sends, and a switch for staff."""

from functools import partial
from uuid import UUID

import streamlit as st

from services import brake
from services.brake import Brake
from services.db.actor import Actor
from ui import confirm, errors, times
from ui.guard import guard
from ui.text import _


@st.fragment
def banner() -> None:
    """That nothing leaves, since when and how it goes on; or the button that stops everything. For every page that
    sends. It asks nothing back: whoever needs it is in a hurry, and one more click undoes it.
    """
    actor = guard()
    with errors.stopping():
        found = brake.pulled(actor)
    with errors.shown():
        _banner(actor, found)


def _banner(actor: Actor, found: Brake | None) -> None:
    if found is None:
        if st.button(_("Parar tudo"), icon=":material/front_hand:", key="brake_pull", type="tertiary"):
            _pull(actor)
        return
    since = times.clock(found.since)
    if found.by_staff and not actor.is_staff:
        words = _("**A equipe parou os seus envios às {since}.** O que está na fila espera. Fale com o suporte.")
        st.error(words.format(since=since), icon=":material/front_hand:")
        return
    words = _("**Os envios estão parados desde {since}.** Nada sai: fila, agendamentos e campanhas esperam.")
    st.error(words.format(since=since), icon=":material/front_hand:")
    if st.button(_("Voltar a enviar"), icon=":material/play_arrow:", key="brake_let_go", type="primary"):
        brake.let_go(actor)
        st.rerun()


def switch(actor: Actor, user_id: UUID) -> None:
    """For staff: stop what somebody sends, or let it go on."""
    if brake.pulled(actor, user_id) is None:
        if st.button(_("Parar envios"), icon=":material/front_hand:", key="brake_pull_other"):
            confirm.stop_sending(partial(_pull, user_id=user_id))
    elif st.button(_("Liberar envios"), icon=":material/play_arrow:", key="brake_let_go_other"):
        with errors.shown():
            brake.let_go(actor, user_id)
            st.rerun()


def _pull(actor: Actor, user_id: UUID | None = None) -> None:
    with errors.shown():
        brake.pull(actor, user_id)
        st.rerun()
