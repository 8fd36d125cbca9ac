"""Which conversation is open, whose it is, and the keys of what the page remembers about it."""

from uuid import UUID

import streamlit as st

from ui.shell import navigation

CONTACT_PARAMETER, USER_PARAMETER = "contato", "pessoa"
CHOSEN_MESSAGE, ANSWERED_MESSAGE, REPLY_KEY = "thread_chosen", "thread_answered", "thread_key"
THREAD_PAGES, LIST_PAGES, CARD_KEY = "thread_pages", "chats_pages", "thread_card"
COLUMN_HEIGHT = 560


def chosen_user_id() -> UUID | None:
    """Whose conversations staff want to see; None for one's own."""
    return navigation.id_in_address(USER_PARAMETER)


def open_contact_id() -> UUID | None:
    """The conversation that is open."""
    return navigation.id_in_address(CONTACT_PARAMETER)


def open_contact(contact: UUID | None) -> None:
    for key in (CHOSEN_MESSAGE, ANSWERED_MESSAGE, THREAD_PAGES, CARD_KEY):
        st.session_state.pop(key, None)
    if contact is None:
        st.query_params.pop(CONTACT_PARAMETER, None)
    else:
        st.query_params[CONTACT_PARAMETER] = str(contact)
