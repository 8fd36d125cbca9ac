"""Incertos: messages of which nobody knows whether they left; their owner decides, by the evidence."""

import streamlit as st

from ui.kit.i18n import _
from ui.sending import uncertain
from ui.shell import errors, live
from ui.shell.guard import guard

guard()
st.title(_("Incertos"), anchor=False)
st.caption(
    _(
        "O envio foi interrompido no meio e ninguém confirmou. O Plushify confere a conversa sozinho por meia hora e "
        "nunca reenvia por conta própria; o que sobrar é você quem decide. Também o que esperou demais para sair."
    )
)


@st.fragment
def doubts() -> None:
    actor = guard()
    live.listen("message")
    with errors.stopping():
        uncertain.show_overdue(actor)
        uncertain.show_own(actor)
        if actor.is_staff:
            uncertain.show_counts(actor)


doubts()
