"""Incertos: messages of which nobody knows whether they left; their owner decides, by the evidence."""

import streamlit as st

from ui import errors, live, uncertain
from ui.guard import guard
from ui.text import _

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
        uncertain.asked(actor)
        uncertain.own(actor)
        if actor.is_staff:
            uncertain.counts(actor)


doubts()
