"""Regras: the automatic reply outside one's hours, labels by keyword, and what each rule did lately."""

import streamlit as st

from services.inbound import automations
from services.inbound.automations import RuleKind
from ui.inbound import automations as drawn
from ui.kit.i18n import _
from ui.shell import errors, live
from ui.shell.guard import guard
from ui.shell.navigation import STAFF

actor = guard()
st.title(_("Regras"), anchor=False)
st.caption(_("O que o console faz sozinho com as mensagens que chegam no seu WhatsApp."))
with errors.stopping():
    found = automations.list_rules(actor)
replying, labels, log = st.tabs([_("Resposta automática"), _("Etiquetas"), _("O que fizeram")])
with replying:
    drawn.auto_reply_form(actor, next((one for one in found if one.kind is RuleKind.AUTO_REPLY), None))
with labels:
    drawn.new_label_form(actor)
    for rule in found:
        if rule.kind is RuleKind.LABEL:
            drawn.label_card(actor, rule)


@st.fragment
def lately() -> None:
    actor = guard()
    live.listen("message")
    with errors.stopping():
        everybody = actor.role in STAFF and st.toggle(_("Mostrar as de todos"), key="rules_of_all")
        drawn.recent_uses(automations.list_all_uses(actor) if everybody else automations.list_uses(actor))


with log:
    lately()
