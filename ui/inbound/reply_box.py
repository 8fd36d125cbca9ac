"""The field in which a user writes to the open conversation."""

from uuid import uuid4

import streamlit as st

from services.contacts import contacts
from services.contacts.contacts import Contact
from services.db.actor import Actor
from services.errors import NotFound
from services.fleet import session as fleet_session
from services.fleet.session import Status
from services.inbound import conversation_actions
from services.wppconnect.phone import ChatKind, get_chat_kind
from ui.inbound.open_conversation import ANSWERED_MESSAGE, CHOSEN_MESSAGE, REPLY_KEY, open_contact_id
from ui.kit.i18n import _, literal
from ui.shell import errors

# The text that was sent off last and its field, until it is queued.
UNQUEUED_TEXT = "thread_sent_off"


def show_reply_box(actor: Actor) -> None:
    """Where one writes to the open conversation. It stands outside of what redraws: a draft outlives whatever comes."""
    opened = open_contact_id()
    if opened is None:
        return
    try:
        # What was sent off must not be lost before it is read who it is for.
        contact, session = errors.wait_for_database(lambda: (contacts.get(actor, opened), fleet_session.get(actor)))
    except NotFound:
        return
    why = _why_not_writable(contact, session is not None and session.status is Status.CONNECTED)
    answered = st.session_state.get(ANSWERED_MESSAGE)
    if answered is not None:
        with st.container(horizontal=True, vertical_alignment="center", key="answering"):
            st.caption(_("Respondendo a:") + f" {literal(answered[1])}")
            if st.button("", icon=":material/close:", key="answer_drop", type="tertiary", help=_("Não citar")):
                st.session_state.pop(ANSWERED_MESSAGE, None)
                st.rerun()
    key = st.session_state.setdefault(REPLY_KEY, uuid4().hex)
    field = f"draft_{opened}"
    if (
        (lost := st.session_state.get(UNQUEUED_TEXT)) is not None
        and lost[0] == field
        and not st.session_state.get(field)
    ):
        st.session_state[field] = lost[1]
        del st.session_state[UNQUEUED_TEXT]
    placeholder = why or _("Escreva uma mensagem")
    text = st.chat_input(placeholder, key=field, disabled=why is not None, on_submit=_keep_text, args=(field,))
    if text:
        with errors.shown(kept=False):
            quoted = answered[0] if answered else None
            errors.wait_for_database(
                lambda: conversation_actions.reply(actor, opened, text, key, quoted)
            )  # the key lets it happen once
            st.session_state[REPLY_KEY] = uuid4().hex
            for done_with in (ANSWERED_MESSAGE, CHOSEN_MESSAGE, UNQUEUED_TEXT):
                st.session_state.pop(done_with, None)
            st.rerun()


def _keep_text(field: str) -> None:
    """Before the run: should it be cut off, the text goes back into its field."""
    st.session_state[UNQUEUED_TEXT] = (field, st.session_state[field])


def _why_not_writable(contact: Contact, connected: bool) -> str | None:
    if contact.of_number is not None:
        return _("Aqui só se lê: a conversa é de um número anterior.")
    if contact.blocked_at is not None:
        return _("Este contato está bloqueado.")
    if get_chat_kind(contact.address) not in (ChatKind.PERSON, ChatKind.GROUP):
        return _("Aqui só se lê: é um canal ou uma lista de transmissão.")
    return None if connected else _("Seu WhatsApp não está conectado.")
