"""The page of conversations: who may see them, and chats and thread side by side."""

from uuid import UUID

import streamlit as st

from services.contacts import contacts
from services.db.actor import Actor
from services.errors import NotFound
from services.inbound import conversations
from services.security.break_glass import Scope, get_active_grant
from ui.components import break_glass
from ui.inbound.chat_list import show_chats
from ui.inbound.open_conversation import THREAD_PAGES, open_contact_id
from ui.inbound.thread_view import show_back_button, show_thread
from ui.kit.i18n import _

# On a phone there is room for one of the two; what one wrote stands to the right, as people know it.
STYLE = """<style>
@media (max-width: 640px) {{ .st-key-{hidden} {{ display: none; }} }}
@media (min-width: 641px) {{ .st-key-thread_back {{ display: none; }} }}
[class*="st-key-message_out_"] {{ padding-left: 12%; }}
[class*="st-key-message_in_"] {{ padding-right: 12%; }}
.st-key-thread_messages [data-testid="stChatMessage"] {{ padding: 0.4rem 0.75rem; }}
.st-key-thread_messages [data-testid="stChatMessage"] [data-testid="stVerticalBlock"] {{ gap: 0.25rem; }}
[class*="st-key-open_"] button, [class*="st-key-open_"] button > div {{ justify-content: flex-start; }}
</style>"""


def is_admitted(actor: Actor, whose: UUID | None) -> bool:
    """Whether the actor may see these conversations now; offers staff to break the glass where not yet."""
    if whose is None or whose == actor.user_id:
        return True
    open_now = get_active_grant(actor, whose, Scope.CHATS)
    if open_now is None:
        st.info(_("As conversas são da pessoa. Para vê-las, quebre o vidro com um motivo."), icon=":material/lock:")
        break_glass.offer_access(actor, whose, Scope.CHATS)
        return False
    break_glass.show_open_access(actor, open_now)
    return True


def show_conversations(actor: Actor, whose: UUID | None) -> None:
    """List and thread side by side; on a phone the one or the other."""
    opened = open_contact_id()
    st.html(STYLE.format(hidden="chats" if opened else "thread"))
    left, right = st.columns([2, 3], gap="medium")
    with left, st.container(key="chats"):
        show_chats(actor, whose, opened)
    with right, st.container(key="thread"):
        if opened is None:
            st.caption(_("Escolha uma conversa à esquerda."))
            return
        try:
            found = conversations.get_thread(
                actor, opened, conversations.THREAD_PAGE_SIZE * st.session_state.get(THREAD_PAGES, 1)
            )
        except NotFound:
            show_back_button()
            st.info(_("Essa conversa não existe mais, ou foi juntada a outra."), icon=":material/search_off:")
            return
        show_thread(actor, found)
    # Last: it makes the page draw once more, and what came in is on the screen by then.
    if found.contact.unread and found.contact.user_id == actor.user_id:
        contacts.mark_read(actor, opened)
