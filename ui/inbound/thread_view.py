"""One thread: its head, its messages, and the actions on the chosen message."""

from datetime import date

import streamlit as st

from services.contacts.contacts import Contact
from services.db.actor import Actor
from services.inbound import conversation_actions, conversations
from services.inbound.conversations import Thread, ThreadMessage
from services.wppconnect.phone import format_phone
from ui.components import message_trace
from ui.inbound.contact_card import show_card
from ui.inbound.message_card import show_album, show_message, split_albums
from ui.inbound.message_words import contact_name, message_kind_word
from ui.inbound.open_conversation import ANSWERED_MESSAGE, CHOSEN_MESSAGE, COLUMN_HEIGHT, THREAD_PAGES, open_contact
from ui.inbound.people import find_people
from ui.kit import dates
from ui.kit.i18n import _, literal
from ui.shell import errors


def show_thread(actor: Actor, found: Thread) -> None:
    _thread_head(actor, found.contact)
    with st.container(height=COLUMN_HEIGHT - 110, border=True, gap="xsmall", autoscroll=True, key="thread_messages"):
        if found.more and st.button(_("Mensagens anteriores"), key="thread_older", icon=":material/history:"):
            st.session_state[THREAD_PAGES] = st.session_state.get(THREAD_PAGES, 1) + 1
            st.rerun(scope="fragment")
        day: date | None = None
        people = find_people(actor, found)
        for together in split_albums(found.messages):
            said_on = dates.to_local(together[0].at).date()
            if said_on != day:
                day = said_on
                st.caption(dates.calendar_day(said_on), text_alignment="center")
            if len(together) > 1:
                show_album(actor, found.contact, together, people)
            else:
                show_message(actor, found.contact, together[0], people)
    chosen = st.session_state.get(CHOSEN_MESSAGE)
    acted = next((one for one in found.messages if one.message.id == chosen), None)
    if acted is not None and found.contact.user_id == actor.user_id:
        _message_actions(actor, acted)


def show_back_button() -> None:
    """On a phone: from the thread to the list."""
    if st.button(_("Voltar"), icon=":material/arrow_back:", key="thread_back", type="tertiary"):
        open_contact(None)
        st.rerun()


def _thread_head(actor: Actor, contact: Contact) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        show_back_button()
        with st.container(gap=None):
            st.markdown(f"**{literal(contact_name(contact))}**")
            if contact.phone and (contact.name or contact.pushname):
                st.caption(literal(format_phone(contact.phone)))
        if contact.opted_out:
            st.badge(_("Pediu para não receber"), icon=":material/notifications_off:", color="orange")
        if contact.blocked_at:
            st.badge(_("Bloqueado"), icon=":material/block:", color="red")
        if st.button(_("Contato"), icon=":material/contact_page:", key="card_open"):
            show_card(contact.id, contact.user_id == actor.user_id)


def _message_actions(actor: Actor, thread_message: ThreadMessage) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="message_actions"):
        if thread_message.wpp_id and st.button(_("Responder"), icon=":material/reply:", key="message_reply"):
            said = " ".join(thread_message.message.body.split()) or message_kind_word(thread_message.message.kind)
            st.session_state[ANSWERED_MESSAGE] = (thread_message.wpp_id, said[: conversations.PREVIEW_LENGTH])
            st.rerun()
        if thread_message.wpp_id:
            for emoji in conversation_actions.EMOJIS:
                mine = thread_message.annotations.mine == emoji
                if st.button(emoji, key=f"react_{emoji}", type="secondary" if mine else "tertiary"):
                    _react(actor, thread_message, "" if mine else emoji)
        if thread_message.message.direction == "out":
            message_trace.link(thread_message.message.id, thread_message.message.state)
        if st.button("", icon=":material/close:", key="message_actions_close", type="tertiary", help=_("Fechar")):
            st.session_state.pop(CHOSEN_MESSAGE, None)
            st.rerun(scope="fragment")


def _react(actor: Actor, thread_message: ThreadMessage, emoji: str) -> None:
    with errors.shown():
        conversation_actions.react(actor, thread_message.message.id, emoji)
        st.session_state.pop(CHOSEN_MESSAGE, None)
        st.rerun(scope="fragment")
