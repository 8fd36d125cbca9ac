"""Sending one text or template to one or several people at once, each looked at before anything is queued."""

from collections.abc import Sequence
from uuid import uuid4

import streamlit as st

from services import recipients
from services.db.actor import Actor
from services.recipients import SEVERAL, Recipient
from services.templates import Draft, Template
from ui import bubble, errors, templates, toasts
from ui import recipients as drawn
from ui.text import _

# One key a draft, as for a single message: a double click or a reload queues each recipient once.
DRAFT = "several_draft"


def form(actor: Actor) -> None:
    """What is sent, to whom, what is wrong with whom, and the button."""
    draft = st.session_state.setdefault(DRAFT, uuid4().hex)
    key = f"several_{draft}"
    with st.container(border=True):
        chosen, common = _message(actor, key)
        found = drawn.picker(actor, key, chosen, common)
        if chosen is None or not found:
            return
        ready = recipients.sendable(found)
        bubble.first(ready, chosen, common)
        if len(ready) > SEVERAL:
            st.warning(
                _("Daqui saem até {limit} mensagens de uma vez. Divida a lista.").format(limit=SEVERAL),
                icon=":material/info:",
            )
        words = _("Enviar para {n}").format(n=len(ready))
        off = not ready or len(ready) > SEVERAL
        if st.button(words, type="primary", icon=":material/send:", key="several_send", disabled=off):
            _queue(actor, found, chosen, common, draft)


def _message(actor: Actor, key: str) -> tuple[Template | Draft | None, dict[str, str]]:
    """A template with the values that are the same for everybody, or a text as it is."""
    chosen = templates.chooser(actor, f"{key}_template")
    if chosen is not None:
        return chosen, templates.fields(chosen, f"{key}_values")
    text = st.text_area(_("Mensagem"), height=120, key=f"{key}_text", help=_("`{{nome}}` vira o nome de cada pessoa."))
    return (Draft("", text) if text and text.strip() else None), {}


def _queue(
    actor: Actor, found: Sequence[Recipient], chosen: Template | Draft, common: dict[str, str], draft: str
) -> None:
    with errors.shown(), st.spinner(_("Colocando na fila…")):
        queued = recipients.queue(actor, found, chosen, draft, common)
        toasts.after_rerun(_("{n} mensagens na fila.").format(n=len(queued)), ":material/schedule:")
        drawn.forget(f"several_{draft}")
        st.session_state[DRAFT] = uuid4().hex
        st.rerun()
