"""The list of chats, and the messages that a search found."""

from uuid import UUID

import streamlit as st

from services.db.actor import Actor
from services.fleet import own_number
from services.inbound import conversations
from services.inbound.conversations import Chat, Cursor, SearchHit
from services.wppconnect.phone import ChatKind, format_phone, get_chat_kind
from ui.inbound.message_words import contact_name, message_kind_word
from ui.inbound.open_conversation import CHOSEN_MESSAGE, COLUMN_HEIGHT, LIST_PAGES, THREAD_PAGES, open_contact
from ui.kit import dates
from ui.kit.i18n import _, literal

CHAT_ICONS = {
    ChatKind.PERSON: ":material/person:",
    ChatKind.GROUP: ":material/groups:",
    ChatKind.CHANNEL: ":material/campaign:",
    ChatKind.BROADCAST: ":material/podcasts:",
    ChatKind.STATUS: ":material/person:",
}


def show_chats(actor: Actor, whose: UUID | None, opened: UUID | None) -> None:
    typed = st.text_input(
        _("Buscar"), placeholder=_("Nome, número, etiqueta ou texto"), key="chats_search", label_visibility="collapsed"
    )
    of_number = _choose_number(actor, whose)
    with st.container(height=COLUMN_HEIGHT, border=False, autoscroll=False):
        shown, more = _load_chats(actor, typed, whose, of_number)
        for chat in shown:
            _chat_button(chat, chat.contact.id == opened)
        if more and st.button(_("Mais conversas"), key="chats_more", width="stretch"):
            st.session_state[LIST_PAGES] = st.session_state.get(LIST_PAGES, 1) + 1
            st.rerun(scope="fragment")
        found = conversations.search_messages(actor, typed, whose) if typed else []
        for one in found:
            _search_hit(actor, one)
        if not shown and not found:
            _show_nothing(typed)


def _choose_number(actor: Actor, whose: UUID | None) -> str | None:
    """Whose number's conversations are shown: None for the present one's, where there never was another."""
    earlier = own_number.list_earlier(actor, whose)
    if not earlier:
        return None
    chosen = st.selectbox(
        _("Número"),
        [None, *earlier],
        format_func=lambda one: (
            _("Conversas do número {phone}").format(phone=format_phone(one)) if one else _("Conversas do número atual")
        ),
        key="chats_number",
        label_visibility="collapsed",
    )
    if chosen is not None:
        st.caption(_("Só para leitura: este número não está mais conectado aqui."))
    return chosen


def _show_nothing(typed: str) -> None:
    if typed:
        st.info(_("Nada encontrado. Tente outra palavra ou parte do número."), icon=":material/search_off:")
    else:
        st.info(_("Nenhuma conversa ainda. O que chegar pelo WhatsApp aparece aqui na hora."), icon=":material/forum:")


def _load_chats(actor: Actor, typed: str, whose: UUID | None, of_number: str | None) -> tuple[list[Chat], bool]:
    shown: list[Chat] = []
    after: Cursor | None = None
    for _page in range(st.session_state.get(LIST_PAGES, 1)):
        page = conversations.list_chats(actor, typed, after, whose, of_number)
        shown += page.chats
        after = page.after
        if after is None:
            break
    return shown, after is not None


def _chat_button(chat: Chat, opened: bool) -> None:
    contact = chat.contact
    unread = f" :blue-badge[{contact.unread}]" if contact.unread and not opened else ""
    when = f" :gray[{literal(dates.short_time(chat.last_message_at))}]" if chat.last_message_at else ""
    with st.container(gap=None, key=f"chat_{contact.id}"):
        if st.button(
            f"**{literal(contact_name(contact))}**{unread}{when}",
            key=f"open_{contact.id}",
            icon=CHAT_ICONS[get_chat_kind(contact.address)],
            type="secondary" if opened else "tertiary",
            width="stretch",
        ):
            open_contact(contact.id)
            st.rerun()
        if chat.last is not None:
            st.caption(literal(_last_message_text(chat)))


def _last_message_text(chat: Chat) -> str:
    last = chat.last
    assert last is not None
    said = _("Mensagem apagada") if last.revoked else " ".join(last.text.split()) or message_kind_word(last.kind)
    return (_("Você: ") if last.outgoing else "") + (said if len(said) <= 60 else said[:60] + "…")


def _search_hit(actor: Actor, found: SearchHit) -> None:
    with st.container(border=True, gap=None):
        label = f"**{literal(found.name)}** :gray[{literal(dates.short_time(found.at))}]"
        if st.button(label, key=f"hit_{found.message_id}", icon=":material/search:", type="tertiary"):
            open_contact(found.contact_id)
            st.session_state[THREAD_PAGES] = conversations.count_pages_to(actor, found.message_id)
            st.session_state[CHOSEN_MESSAGE] = found.message_id
            st.rerun()
        text = found.text[: conversations.PREVIEW_LENGTH]
        text += "…" if len(found.text) > len(text) else ""
        st.text(f"{format_phone(found.author)}: {text}" if found.author and not found.outgoing else text)
