"""Regras: the automatic reply outside one's hours, labels by keyword, and what each rule did lately."""

import streamlit as st

from services import rules
from services.rules import Kind
from ui import errors, live
from ui import rules as drawn
from ui.guard import guard
from ui.navigation import STAFF
from ui.text import _

actor = guard()
st.title(_("Regras"), anchor=False)
st.caption(_("O que o console faz sozinho com as mensagens que chegam no seu WhatsApp."))
with errors.stopping():
    found = rules.mine(actor)
replying, labels, log = st.tabs([_("Resposta automática"), _("Etiquetas"), _("O que fizeram")])
with replying:
    drawn.auto_reply(actor, next((one for one in found if one.kind is Kind.AUTO_REPLY), None))
with labels:
    drawn.new_label(actor)
    for rule in found:
        if rule.kind is Kind.LABEL:
            drawn.label_card(actor, rule)


@st.fragment
def lately() -> None:
    actor = guard()
    live.listen("message")
    with errors.stopping():
        everybody = actor.role in STAFF and st.toggle(_("Mostrar as de todos"), key="rules_of_all")
        drawn.lately(rules.everybodys_uses(actor) if everybody else rules.uses(actor))


with log:
    lately()
