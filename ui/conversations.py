"""Conversations on the screen: the list, one thread as bubbles, what can be done with a message, the contact's card."""

from datetime import date
from typing import Any
from uuid import UUID, uuid4

import streamlit as st

from services import backfill, contacts, glass, sessions, threads
from services.contacts import Contact
from services.db.actor import Actor
from services.errors import NotFound
from services.glass import Scope
from services.messages import Message, State
from services.sessions import Status
from services.threads import Bubble, Chat, Found, Marks, Place, Thread
from services.wppconnect.phone import ChatKind, chat_kind, display
from ui import broken_glass, dossier, errors, files, navigation, status, times
from ui.guard import guard
from ui.text import _, literal

CONTACT, PERSON = "contato", "pessoa"
CHOSEN, ANSWERED, KEY = "thread_chosen", "thread_answered", "thread_key"
# The text that was sent off last and its field, until it is queued.
SENT_OFF = "thread_sent_off"
PAGES, LIST_PAGES, CARD = "thread_pages", "chats_pages", "thread_card"
HEIGHT = 560
CHAT_ICONS = {
    ChatKind.PERSON: ":material/person:",
    ChatKind.GROUP: ":material/groups:",
    ChatKind.CHANNEL: ":material/campaign:",
    ChatKind.BROADCAST: ":material/podcasts:",
    ChatKind.STATUS: ":material/person:",
}
# On a phone there is room for one of the two; what one wrote stands to the right, as people know it.
STYLE = """<style>
@media (max-width: 640px) {{ .st-key-{hidden} {{ display: none; }} }}
@media (min-width: 641px) {{ .st-key-thread_back {{ display: none; }} }}
[class*="st-key-bubble_out_"] {{ padding-left: 12%; }}
[class*="st-key-bubble_in_"] {{ padding-right: 12%; }}
.st-key-bubbles [data-testid="stChatMessage"] {{ padding: 0.4rem 0.75rem; }}
.st-key-bubbles [data-testid="stChatMessage"] [data-testid="stVerticalBlock"] {{ gap: 0.25rem; }}
[class*="st-key-open_"] button, [class*="st-key-open_"] button > div {{ justify-content: flex-start; }}
</style>"""


# --- whose, and which -------------------------------------------------------------------------------------------------


def person() -> UUID | None:
    """Whose conversations staff want to see; None for one's own."""
    return navigation.named(PERSON)


def contact_id() -> UUID | None:
    """The conversation that is open."""
    return navigation.named(CONTACT)


def admitted(actor: Actor, whose: UUID | None) -> bool:
    """Whether the actor may see these conversations now; offers staff to break the glass where not yet."""
    if whose is None or whose == actor.user_id:
        return True
    open_now = glass.active(actor, whose, Scope.CHATS)
    if open_now is None:
        st.info(_("As conversas são da pessoa. Para vê-las, quebre o vidro com um motivo."), icon=":material/lock:")
        broken_glass.offer(actor, whose, Scope.CHATS)
        return False
    broken_glass.opened(actor, open_now)
    return True


def _open(contact: UUID | None) -> None:
    for key in (CHOSEN, ANSWERED, PAGES, CARD):
        st.session_state.pop(key, None)
    if contact is None:
        st.query_params.pop(CONTACT, None)
    else:
        st.query_params[CONTACT] = str(contact)


# --- the list ---------------------------------------------------------------------------------------------------------


def desk(actor: Actor, whose: UUID | None) -> None:
    """List and thread side by side; on a phone the one or the other."""
    opened = contact_id()
    st.html(STYLE.format(hidden="chats" if opened else "thread"))
    left, right = st.columns([2, 3], gap="medium")
    with left, st.container(key="chats"):
        _list(actor, whose, opened)
    with right, st.container(key="thread"):
        if opened is None:
            st.caption(_("Escolha uma conversa à esquerda."))
            return
        try:
            found = threads.thread(actor, opened, threads.THREAD_PAGE * st.session_state.get(PAGES, 1))
        except NotFound:
            _back()
            st.info(_("Essa conversa não existe mais, ou foi juntada a outra."), icon=":material/search_off:")
            return
        _thread(actor, found)
    # Last: it makes the page draw once more, and what came in is on the screen by then.
    if found.contact.unread and found.contact.user_id == actor.user_id:
        contacts.read(actor, opened)


def _list(actor: Actor, whose: UUID | None, opened: UUID | None) -> None:
    typed = st.text_input(
        _("Buscar"), placeholder=_("Nome, número, etiqueta ou texto"), key="chats_search", label_visibility="collapsed"
    )
    with st.container(height=HEIGHT, border=False, autoscroll=False):
        shown, more = _chats(actor, typed, whose)
        for chat in shown:
            _line(chat, chat.contact.id == opened)
        if more and st.button(_("Mais conversas"), key="chats_more", width="stretch"):
            st.session_state[LIST_PAGES] = st.session_state.get(LIST_PAGES, 1) + 1
            st.rerun(scope="fragment")
        found = threads.search(actor, typed, whose) if typed else []
        for one in found:
            _hit(actor, one)
        if not shown and not found:
            _nothing(typed)


def _nothing(typed: str) -> None:
    if typed:
        st.info(_("Nada encontrado. Tente outra palavra ou parte do número."), icon=":material/search_off:")
    else:
        st.info(_("Nenhuma conversa ainda. O que chegar pelo WhatsApp aparece aqui na hora."), icon=":material/forum:")


def _chats(actor: Actor, typed: str, whose: UUID | None) -> tuple[list[Chat], bool]:
    shown: list[Chat] = []
    after: Place | None = None
    for _page in range(st.session_state.get(LIST_PAGES, 1)):
        page = threads.chats(actor, typed, after, whose)
        shown += page.chats
        after = page.after
        if after is None:
            break
    return shown, after is not None


def _line(chat: Chat, opened: bool) -> None:
    contact = chat.contact
    unread = f" :blue-badge[{contact.unread}]" if contact.unread and not opened else ""
    when = f" :gray[{literal(times.clock(chat.last_message_at))}]" if chat.last_message_at else ""
    with st.container(gap=None, key=f"chat_{contact.id}"):
        if st.button(
            f"**{literal(name_of(contact))}**{unread}{when}",
            key=f"open_{contact.id}",
            icon=CHAT_ICONS[chat_kind(contact.address)],
            type="secondary" if opened else "tertiary",
            width="stretch",
        ):
            _open(contact.id)
            st.rerun()
        if chat.last is not None:
            st.caption(literal(_preview(chat)))


def _preview(chat: Chat) -> str:
    last = chat.last
    assert last is not None
    said = _("Mensagem apagada") if last.revoked else " ".join(last.text.split()) or kind_word(last.kind)
    return (_("Você: ") if last.outgoing else "") + (said if len(said) <= 60 else said[:60] + "…")


def _hit(actor: Actor, found: Found) -> None:
    with st.container(border=True, gap=None):
        label = f"**{literal(found.name)}** :gray[{literal(times.clock(found.at))}]"
        if st.button(label, key=f"hit_{found.message_id}", icon=":material/search:", type="tertiary"):
            _open(found.contact_id)
            st.session_state[PAGES] = threads.pages_to(actor, found.message_id)
            st.session_state[CHOSEN] = found.message_id
            st.rerun()
        st.text(found.text if len(found.text) <= threads.PREVIEW else found.text[: threads.PREVIEW] + "…")


def name_of(contact: Contact) -> str:
    """How a contact is called: by its owner, by itself, or by its number."""
    if contact.name or contact.pushname:
        return contact.name or contact.pushname or ""
    if contact.phone:
        return display(contact.phone)
    digits = contact.address.partition("@")[0][-4:]
    words = {
        ChatKind.GROUP: _("Grupo …{digits}"),
        ChatKind.CHANNEL: _("Canal …{digits}"),
        ChatKind.BROADCAST: _("Lista de transmissão …{digits}"),
    }
    return words.get(chat_kind(contact.address), _("Sem número …{digits}")).format(digits=digits)


# --- the thread -------------------------------------------------------------------------------------------------------


def _thread(actor: Actor, found: Thread) -> None:
    _head(actor, found.contact)
    with st.container(height=HEIGHT - 110, border=True, gap="xsmall", autoscroll=True, key="bubbles"):
        if found.more and st.button(_("Mensagens anteriores"), key="thread_older", icon=":material/history:"):
            st.session_state[PAGES] = st.session_state.get(PAGES, 1) + 1
            st.rerun(scope="fragment")
        day: date | None = None
        for bubble in found.bubbles:
            said_on = times.local(bubble.at).date()
            if said_on != day:
                day = said_on
                st.caption(times.calendar_day(said_on), text_alignment="center")
            _bubble(actor, found.contact, bubble)
    chosen = st.session_state.get(CHOSEN)
    acted = next((one for one in found.bubbles if one.message.id == chosen), None)
    if acted is not None and found.contact.user_id == actor.user_id:
        _actions(actor, acted)


def _back() -> None:
    """On a phone: from the thread to the list."""
    if st.button(_("Voltar"), icon=":material/arrow_back:", key="thread_back", type="tertiary"):
        _open(None)
        st.rerun()


def _head(actor: Actor, contact: Contact) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        _back()
        with st.container(gap=None):
            st.markdown(f"**{literal(name_of(contact))}**")
            if contact.phone and (contact.name or contact.pushname):
                st.caption(literal(display(contact.phone)))
        if contact.opted_out:
            st.badge(_("Pediu para não receber"), icon=":material/notifications_off:", color="orange")
        if contact.blocked_at:
            st.badge(_("Bloqueado"), icon=":material/block:", color="red")
        if st.button(_("Contato"), icon=":material/contact_page:", key="card_open"):
            card(contact.id, contact.user_id == actor.user_id)


def _bubble(actor: Actor, contact: Contact, bubble: Bubble) -> None:
    message = bubble.message
    out = message.direction == "out"
    with (
        st.container(key=f"bubble_{message.direction}_{message.id}"),
        st.chat_message("user" if out else "assistant", avatar=":material/north_east:" if out else ":material/person:"),
    ):
        if contact.is_group and not out and message.contact_name:
            st.markdown(f"**{literal(message.contact_name)}**")
        if bubble.quoted is not None:
            who = _("Você") if bubble.quoted.outgoing else bubble.quoted.author or name_of(contact)
            said = " ".join(bubble.quoted.text.split()) or kind_word(bubble.quoted.kind)
            st.caption(f"> **{literal(who)}** {literal(said)}")
        _content(contact, bubble)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(_foot(bubble))
            if contact.user_id == actor.user_id and st.button(
                "", key=f"more_{message.id}", icon=":material/more_horiz:", type="tertiary", help=_("Responder, reagir")
            ):
                st.session_state[CHOSEN] = message.id
                st.rerun(scope="fragment")
        if message.failure and message.state in (State.FAILED, State.UNCERTAIN):
            st.caption(status.message_failure(message.failure))
        if message.waiting is not None:
            st.caption(f":material/hourglass_empty: {status.waiting(message.waiting)}")


def _content(contact: Contact, bubble: Bubble) -> None:
    message, marks = bubble.message, bubble.marks
    if marks.revoked_at is not None:
        st.caption(_("Apagada no WhatsApp. Dizia:"))
    if message.media_sha256 is not None:
        files.show(contact.user_id, message.kind, message.media_sha256, message.mimetype, message.filename)
    elif message.kind in FILE_WORDS and message.direction == "in":
        _missing(bubble)
    if message.kind in DETAILS:
        _detail(message, marks)
    elif message.body:
        st.text(message.body)
    elif message.media_sha256 is None and message.kind not in FILE_WORDS:
        st.caption(kind_word(message.kind))


def _missing(bubble: Bubble) -> None:
    if bubble.fetching:
        st.caption(_("{what}: buscando o arquivo…").format(what=kind_word(bubble.message.kind)))
        return
    label = _("{what}: buscar o arquivo").format(what=kind_word(bubble.message.kind))
    if st.button(label, key=f"fetch_{bubble.message.id}", icon=":material/downloading:"):
        with errors.shown():
            threads.ask_for_file(guard(), bubble.message.id)
            st.rerun(scope="fragment")


FILE_WORDS = ("image", "video", "audio", "ptt", "document", "sticker", "ptv")
DETAILS = ("location", "vcard", "multi_vcard", "poll_creation", "call")


def kind_word(kind: str) -> str:
    """What a message of this kind is, for people."""
    words = {
        "image": _("Imagem"),
        "video": _("Vídeo"),
        "ptv": _("Vídeo"),
        "audio": _("Áudio"),
        "ptt": _("Mensagem de voz"),
        "document": _("Documento"),
        "sticker": _("Figurinha"),
        "location": _("Localização"),
        "vcard": _("Contato"),
        "multi_vcard": _("Contatos"),
        "poll_creation": _("Enquete"),
        "call": _("Chamada"),
        "ciphertext": _("Mensagem que o WhatsApp ainda não abriu. Veja no celular."),
        "chat": "",
    }
    return words.get(kind, _("Mensagem de um tipo que ainda não mostramos ({kind}). Veja no celular.")).format(
        kind=kind
    )


def _detail(message: Message, marks: Marks) -> None:
    detail: Any = message.detail
    if message.kind == "location":
        lines = [detail.get("title"), detail.get("address")]
        st.text("\n".join(line for line in lines if line) or kind_word("location"))
        if "lat" in detail and "lng" in detail:
            where = f"https://www.openstreetmap.org/?mlat={float(detail['lat'])}&mlon={float(detail['lng'])}"
            st.link_button(_("Ver no mapa"), where, icon=":material/location_on:")
    elif message.kind == "call":
        st.text(_("Chamada de vídeo") if detail.get("video") else _("Chamada de voz"))
    elif message.kind == "poll_creation":
        votes = [f"• {option}: {marks.votes.get(option, 0)}" for option in detail.get("options", ())]
        st.text("\n".join([detail.get("name") or kind_word("poll_creation"), *votes]))
    else:
        cards = detail.get("contacts") or [detail]
        st.text("\n".join(" · ".join(str(part) for part in one.values() if part) for one in cards))


def _foot(bubble: Bubble) -> str:
    message, marks = bubble.message, bubble.marks
    parts = [times.local(bubble.at).strftime("%H:%M")]
    if marks.edited_at is not None:
        parts.append(_("editada"))
    if message.direction == "out":
        parts.append(TICKS.get(message.state, ""))
    if marks.read_by:
        parts.append(_("lida por {n}").format(n=marks.read_by))
    elif marks.delivered_to:
        parts.append(_("recebida por {n}").format(n=marks.delivered_to))
    parts += [f"{emoji} {count}" if count > 1 else emoji for emoji, count in marks.reactions.items()]
    return " ".join(part for part in parts if part)


# Icon and colour beside what is said in words on the message's own page.
TICKS = {
    State.QUEUED: ":material/schedule:",
    State.SENDING: ":material/schedule_send:",
    State.ACCEPTED: ":material/schedule_send:",
    State.SENT: ":material/check:",
    State.DELIVERED: ":material/done_all:",
    State.READ: ":blue[:material/done_all:]",
    State.FAILED: ":red[:material/error:]",
    State.UNCERTAIN: ":orange[:material/help:]",
}


def _actions(actor: Actor, bubble: Bubble) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="bubble_actions"):
        if bubble.wpp_id and st.button(_("Responder"), icon=":material/reply:", key="bubble_reply"):
            said = " ".join(bubble.message.body.split()) or kind_word(bubble.message.kind)
            st.session_state[ANSWERED] = (bubble.wpp_id, said[: threads.PREVIEW])
            st.rerun()
        if bubble.wpp_id:
            for emoji in threads.EMOJIS:
                mine = bubble.marks.mine == emoji
                if st.button(emoji, key=f"react_{emoji}", type="secondary" if mine else "tertiary"):
                    _react(actor, bubble, "" if mine else emoji)
        if bubble.message.direction == "out":
            dossier.link(bubble.message.id, bubble.message.state)
        if st.button("", icon=":material/close:", key="bubble_close", type="tertiary", help=_("Fechar")):
            st.session_state.pop(CHOSEN, None)
            st.rerun(scope="fragment")


def _react(actor: Actor, bubble: Bubble, emoji: str) -> None:
    with errors.shown():
        threads.react(actor, bubble.message.id, emoji)
        st.session_state.pop(CHOSEN, None)
        st.rerun(scope="fragment")


# --- writing ----------------------------------------------------------------------------------------------------------


def composer(actor: Actor) -> None:
    """Where one writes to the open conversation. It stands outside of what redraws: a draft outlives whatever comes."""
    opened = contact_id()
    if opened is None:
        return
    try:
        # What was sent off must not be lost before it is read who it is for.
        contact, session = errors.patiently(lambda: (contacts.get(actor, opened), sessions.get(actor)))
    except NotFound:
        return
    why = _why_not(contact, session is not None and session.status is Status.CONNECTED)
    answered = st.session_state.get(ANSWERED)
    if answered is not None:
        with st.container(horizontal=True, vertical_alignment="center", key="answering"):
            st.caption(_("Respondendo a:") + f" {literal(answered[1])}")
            if st.button("", icon=":material/close:", key="answer_drop", type="tertiary", help=_("Não citar")):
                st.session_state.pop(ANSWERED, None)
                st.rerun()
    key = st.session_state.setdefault(KEY, uuid4().hex)
    field = f"draft_{opened}"
    if (lost := st.session_state.get(SENT_OFF)) is not None and lost[0] == field and not st.session_state.get(field):
        st.session_state[field] = lost[1]
        del st.session_state[SENT_OFF]
    placeholder = why or _("Escreva uma mensagem")
    text = st.chat_input(placeholder, key=field, disabled=why is not None, on_submit=_send_off, args=(field,))
    if text:
        with errors.shown(kept=False):
            quoted = answered[0] if answered else None
            errors.patiently(lambda: threads.reply(actor, opened, text, key, quoted))  # the key lets it happen once
            st.session_state[KEY] = uuid4().hex
            for done_with in (ANSWERED, CHOSEN, SENT_OFF):
                st.session_state.pop(done_with, None)
            st.rerun()


def _send_off(field: str) -> None:
    """Before the run: should it be cut off, the text goes back into its field."""
    st.session_state[SENT_OFF] = (field, st.session_state[field])


def _why_not(contact: Contact, connected: bool) -> str | None:
    if contact.blocked_at is not None:
        return _("Este contato está bloqueado.")
    if chat_kind(contact.address) not in (ChatKind.PERSON, ChatKind.GROUP):
        return _("Aqui só se lê: é um canal ou uma lista de transmissão.")
    if contact.phone is None and not contact.is_group:
        return _("O número desta pessoa ainda não é conhecido; responda pelo celular.")
    return None if connected else _("Seu WhatsApp não está conectado.")


# --- the card ---------------------------------------------------------------------------------------------------------


def card(contact: UUID, own: bool) -> None:
    """The contact's card in a dialog: staff who look through broken glass only read it."""

    @st.dialog(_("Contato"))
    def ask() -> None:
        actor = guard()
        with errors.stopping():
            found = contacts.get(actor, contact)
        addresses = [display(found.phone) if found.phone else "", found.address, found.lid or ""]
        st.text("\n".join(dict.fromkeys(one for one in addresses if one)))
        if found.pushname:
            st.caption(_("Chama-se no WhatsApp:") + " " + literal(found.pushname))
        if not own:
            st.text(found.notes)
            return
        _card_form(actor, found)
        _card_switches(actor, found)

    ask()


def _card_form(actor: Actor, found: Contact) -> None:
    with st.form("card", border=False):
        name = st.text_input(_("Nome"), found.name or "", max_chars=contacts.MAX_NAME, key="card_name")
        labels = st.multiselect(
            _("Etiquetas"), list(found.labels), list(found.labels), accept_new_options=True, key="card_labels"
        )
        notes = st.text_area(_("Anotações"), found.notes, max_chars=contacts.MAX_NOTES, key="card_notes")
        if st.form_submit_button(_("Salvar"), type="primary", icon=":material/save:"):
            with errors.shown():
                contacts.save(actor, found.id, name, notes, labels)
                st.rerun()


def _card_switches(actor: Actor, found: Contact) -> None:
    with st.container(horizontal=True):
        blocked = found.blocked_at is not None
        if st.button(_("Desbloquear") if blocked else _("Bloquear"), icon=":material/block:", key="card_block"):
            with errors.shown():
                contacts.block(actor, found.id, blocked=not blocked)
                st.rerun()
        reread = st.button(_("Ler de novo"), icon=":material/sync:", key="card_reread")
        if found.opted_out:
            st.badge(_("Pediu para não receber"), icon=":material/notifications_off:", color="orange")
        elif (
            found.phone
            and st.checkbox(_("Pediu para nunca mais receber"), key="card_out_sure")
            and st.button(_("Confirmar: isso não tem volta"), icon=":material/notifications_off:", key="card_out")
        ):
            with errors.shown():
                contacts.opt_out(actor, found.id)
                st.rerun()
    if reread:
        with errors.shown():
            backfill.chat(actor, found.id)
            st.info(
                _("Lendo as mensagens dos últimos 30 dias no WhatsApp. O resultado aparece em “Lacunas”."),
                icon=":material/sync:",
            )
