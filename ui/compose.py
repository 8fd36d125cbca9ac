"""Writing a message and watching it go."""

from uuid import uuid4

import streamlit as st

from services import messages
from services.db.actor import Actor
from services.messages import Message, State
from services.wppconnect.phone import display
from ui import dossier, errors, status
from ui.text import _

# One key a draft: a double click, a reload in mid-submit or a repeated run queues the same message once.
DRAFT = "draft_key"
QUEUED = "draft_queued"
FIELDS = ("compose_phone", "compose_contact", "compose_text")
SHOWN = 20


def form(actor: Actor) -> None:
    """The form; what was typed stays when something is wrong with it, and goes when it was queued."""
    key = st.session_state.setdefault(DRAFT, uuid4().hex)
    if st.session_state.pop(QUEUED, False):
        st.session_state.update(dict.fromkeys(FIELDS, ""))
        st.toast(_("Mensagem na fila."), icon=":material/schedule:")
    with st.form("compose", border=True):
        to, name = st.columns([3, 2])
        phone = to.text_input(_("Para (WhatsApp)"), placeholder="(11) 99999-9999", key="compose_phone")
        contact = name.text_input(_("Nome (opcional)"), key="compose_contact", max_chars=80)
        text = st.text_area(_("Mensagem"), height=140, key="compose_text")
        sent = st.form_submit_button(_("Enviar"), type="primary", icon=":material/send:", key="send")
    if sent:
        with errors.shown():
            messages.queue(actor, phone, text, key, contact.strip() or None)
            st.session_state[DRAFT] = uuid4().hex
            st.session_state[QUEUED] = True
            st.rerun()


def recent(actor: Actor) -> None:
    """The newest messages with their states."""
    found = messages.recent(actor, SHOWN)
    if not found:
        st.caption(_("Nada enviado ainda. O que você enviar aparece aqui e muda de estado sozinho."))
    for message in found:
        with st.container(border=True, key=f"message_{message.id}"):
            _message(message)


def _message(message: Message) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        name = f"{message.contact_name} · " if message.contact_name else ""
        st.text(name + display(message.phone))
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            status.message_badge(message)
            st.caption(status.message_time(message))
    st.text(message.body)
    if message.failure and message.state in (State.FAILED, State.UNCERTAIN):
        st.caption(status.message_failure(message.failure))
    dossier.link(message.id, message.state)
