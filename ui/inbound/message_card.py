"""One message of a thread: its content, its file, its state and reactions."""

from typing import Any

import streamlit as st

from services.contacts.contacts import Contact
from services.db.actor import Actor
from services.inbound import conversation_actions
from services.inbound.conversations import Annotations, ThreadMessage
from services.messaging.state import Message, State
from ui.components import media
from ui.inbound.message_words import contact_name, message_kind_word
from ui.inbound.open_conversation import CHOSEN_MESSAGE
from ui.kit import badges, dates
from ui.kit.i18n import _, literal
from ui.shell import errors
from ui.shell.guard import guard


def show_message(actor: Actor, contact: Contact, thread_message: ThreadMessage) -> None:
    message = thread_message.message
    out = message.direction == "out"
    with (
        st.container(key=f"message_{message.direction}_{message.id}"),
        st.chat_message("user" if out else "assistant", avatar=":material/north_east:" if out else ":material/person:"),
    ):
        if contact.is_group and not out and message.contact_name:
            st.markdown(f"**{literal(message.contact_name)}**")
        if thread_message.quoted is not None:
            who = _("Você") if thread_message.quoted.outgoing else thread_message.quoted.author or contact_name(contact)
            said = " ".join(thread_message.quoted.text.split()) or message_kind_word(thread_message.quoted.kind)
            st.caption(f"> **{literal(who)}** {literal(said)}")
        _content(contact, thread_message)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(_footer(thread_message))
            if contact.user_id == actor.user_id and st.button(
                "", key=f"more_{message.id}", icon=":material/more_horiz:", type="tertiary", help=_("Responder, reagir")
            ):
                st.session_state[CHOSEN_MESSAGE] = message.id
                st.rerun(scope="fragment")
        if message.failure and message.state in (State.FAILED, State.UNCERTAIN):
            st.caption(badges.message_failure(message.failure))
        if message.waiting is not None:
            st.caption(f":material/hourglass_empty: {badges.wait_sentence(message.waiting)}")


def _content(contact: Contact, thread_message: ThreadMessage) -> None:
    message, annotations = thread_message.message, thread_message.annotations
    if annotations.revoked_at is not None:
        st.caption(_("Apagada no WhatsApp. Dizia:"))
    if message.media_sha256 is not None:
        media.show_file(contact.user_id, message.kind, message.media_sha256, message.mimetype, message.filename)
    elif message.kind in FILE_KINDS and message.direction == "in":
        _missing_file(thread_message)
    if message.kind in DETAIL_KINDS:
        _detail(message, annotations)
    elif message.body:
        st.text(message.body)
    elif message.media_sha256 is None and message.kind not in FILE_KINDS:
        st.caption(message_kind_word(message.kind))


def _missing_file(thread_message: ThreadMessage) -> None:
    if thread_message.fetching:
        st.caption(_("{what}: buscando o arquivo…").format(what=message_kind_word(thread_message.message.kind)))
        return
    label = _("{what}: buscar o arquivo").format(what=message_kind_word(thread_message.message.kind))
    if st.button(label, key=f"fetch_{thread_message.message.id}", icon=":material/downloading:"):
        with errors.shown():
            conversation_actions.request_file(guard(), thread_message.message.id)
            st.rerun(scope="fragment")


FILE_KINDS = ("image", "video", "audio", "ptt", "document", "sticker", "ptv")
DETAIL_KINDS = ("location", "vcard", "multi_vcard", "poll_creation", "call")


def _detail(message: Message, annotations: Annotations) -> None:
    detail: Any = message.detail
    if message.kind == "location":
        lines = [detail.get("title"), detail.get("address")]
        st.text("\n".join(line for line in lines if line) or message_kind_word("location"))
        if "lat" in detail and "lng" in detail:
            where = f"https://www.openstreetmap.org/?mlat={float(detail['lat'])}&mlon={float(detail['lng'])}"
            st.link_button(_("Ver no mapa"), where, icon=":material/location_on:")
    elif message.kind == "call":
        st.text(_("Chamada de vídeo") if detail.get("video") else _("Chamada de voz"))
    elif message.kind == "poll_creation":
        votes = [f"• {option}: {annotations.votes.get(option, 0)}" for option in detail.get("options", ())]
        st.text("\n".join([detail.get("name") or message_kind_word("poll_creation"), *votes]))
    else:
        cards = detail.get("contacts") or [detail]
        st.text("\n".join(" · ".join(str(part) for part in one.values() if part) for one in cards))


def _footer(thread_message: ThreadMessage) -> str:
    message, annotations = thread_message.message, thread_message.annotations
    parts = [dates.to_local(thread_message.at).strftime("%H:%M")]
    if annotations.edited_at is not None:
        parts.append(_("editada"))
    if message.direction == "out":
        parts.append(TICKS.get(message.state, ""))
    if annotations.read_by:
        parts.append(_("lida por {n}").format(n=annotations.read_by))
    elif annotations.delivered_to:
        parts.append(_("recebida por {n}").format(n=annotations.delivered_to))
    parts += [f"{emoji} {count}" if count > 1 else emoji for emoji, count in annotations.reactions.items()]
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
