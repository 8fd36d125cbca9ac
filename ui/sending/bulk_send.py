"""Sends one text or template to several people at once. Every recipient is checked before anything is queued."""

from collections.abc import Sequence
from uuid import uuid4

import streamlit as st

from services.db.actor import Actor
from services.outreach import recipients
from services.outreach.recipients import MAX_WITHOUT_CAMPAIGN, Recipient
from services.outreach.template_content import Template, TemplateDraft
from ui.components import message_preview
from ui.kit import flash
from ui.kit.fields import forget_fields
from ui.kit.i18n import _
from ui.sending import restriction, templates
from ui.sending.recipients import choose_recipients
from ui.shell import errors

# One key a draft, as for a single message: a double click or a reload queues each recipient once.
DRAFT = "several_draft"


def show_form(actor: Actor) -> None:
    """What is sent, to whom, what is wrong with whom, and the button."""
    draft = st.session_state.setdefault(DRAFT, uuid4().hex)
    key = f"several_{draft}"
    with st.container(border=True):
        chosen, common = _choose_message(actor, key)
        found = choose_recipients(actor, key, chosen, common)
        if chosen is None or not found:
            return
        ready = recipients.only_sendable(found)
        message_preview.preview_first(ready, chosen, common)
        if len(ready) > MAX_WITHOUT_CAMPAIGN:
            st.warning(
                _("Daqui saem até {limit} mensagens de uma vez. Divida a lista.").format(limit=MAX_WITHOUT_CAMPAIGN),
                icon=":material/info:",
            )
        restriction.warn_of_strangers(actor, {one.phone for one in ready if one.phone})
        words = _("Enviar para {n}").format(n=len(ready))
        off = not ready or len(ready) > MAX_WITHOUT_CAMPAIGN
        if st.button(words, type="primary", icon=":material/send:", key="several_send", disabled=off):
            _queue_messages(actor, found, chosen, common, draft)


def _choose_message(actor: Actor, key: str) -> tuple[Template | TemplateDraft | None, dict[str, str]]:
    """A template with the values that are the same for everybody, or a text as it is."""
    chosen = templates.choose_template(actor, f"{key}_template")
    if chosen is not None:
        return chosen, templates.value_fields(chosen, f"{key}_values")
    text = st.text_area(_("Mensagem"), height=120, key=f"{key}_text", help=_("`{{nome}}` vira o nome de cada pessoa."))
    return (TemplateDraft("", text) if text and text.strip() else None), {}


def _queue_messages(
    actor: Actor, found: Sequence[Recipient], chosen: Template | TemplateDraft, common: dict[str, str], draft: str
) -> None:
    with errors.shown(), st.spinner(_("Colocando na fila…")):
        queued = recipients.queue(actor, found, chosen, draft, common)
        flash.after_rerun(_("{n} mensagens na fila.").format(n=len(queued)), ":material/schedule:")
        forget_fields(f"several_{draft}")
        st.session_state[DRAFT] = uuid4().hex
        st.rerun()
