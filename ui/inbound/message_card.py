"""One message of a thread: its content, its file, its state and reactions. Pictures of an album share one card."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from services.contacts.contact_names import PeopleNames
from services.contacts.contacts import Contact
from services.db.actor import Actor
from services.inbound import conversation_actions
from services.inbound.conversations import ThreadMessage
from services.messaging.state import State
from services.wppconnect.message_types import FILE_TYPES, REVOKED_TYPE
from services.wppconnect.phone import ChatKind, get_chat_kind
from ui.components import media
from ui.inbound.message_detail import DETAIL_KINDS, describe_buttons, describe_detail, view_once_words
from ui.inbound.message_words import contact_name, message_kind_word
from ui.inbound.open_conversation import CHOSEN_MESSAGE
from ui.inbound.people import author_name, name_mentions, quoted_name
from ui.kit import badges, dates
from ui.kit.i18n import _, literal
from ui.shell import errors
from ui.shell.guard import guard

ALBUM_PICTURE_WIDTH = 170


def show_message(actor: Actor, contact: Contact, thread_message: ThreadMessage, people: PeopleNames) -> None:
    message = thread_message.message
    with _card(contact, thread_message, people):
        _quote(contact, thread_message, people)
        _content(contact, thread_message, people)
        _foot(actor, contact, thread_message)
        if message.failure and message.state in (State.FAILED, State.UNCERTAIN, State.CANCELLED):
            st.caption(badges.message_failure(message.failure))
        if message.waiting is not None:
            st.caption(f":material/hourglass_empty: {badges.wait_sentence(message.waiting)}")


def show_album(actor: Actor, contact: Contact, pictures: Sequence[ThreadMessage], people: PeopleNames) -> None:
    """Pictures that were sent together, side by side; each has its own text, reactions and actions."""
    with _card(contact, pictures[0], people):
        _quote(contact, pictures[0], people)
        with st.container(horizontal=True, gap="small", key=f"album_{pictures[0].message.id}"):
            for one in pictures:
                with st.container(width=ALBUM_PICTURE_WIDTH, gap=None):
                    _content(contact, one, people)
                    _foot(actor, contact, one)


def split_albums(messages: Sequence[ThreadMessage]) -> Iterator[list[ThreadMessage]]:
    """The messages one by one, those of an album together where they follow each other."""
    group: list[ThreadMessage] = []
    for one in messages:
        if group and _get_album(one) is not None and _get_album(one) == _get_album(group[-1]):
            group.append(one)
            continue
        if group:
            yield group
        group = [one]
    if group:
        yield group


def _get_album(thread_message: ThreadMessage) -> tuple[str, str] | None:
    album = thread_message.message.detail.get("album")
    return (thread_message.message.direction, album) if album else None


@contextmanager
def _card(contact: Contact, thread_message: ThreadMessage, people: PeopleNames) -> Iterator[None]:
    """The frame of a message, in a chat of several people with its author."""
    message = thread_message.message
    out = message.direction == "out"
    with (
        st.container(key=f"message_{message.direction}_{message.id}"),
        st.chat_message("user" if out else "assistant", avatar=":material/north_east:" if out else ":material/person:"),
    ):
        several = get_chat_kind(contact.address) is not ChatKind.PERSON
        if several and not out and (author := author_name(message, people)):
            st.markdown(f"**{literal(author)}**")
        yield


def _quote(contact: Contact, thread_message: ThreadMessage, people: PeopleNames) -> None:
    """What a message answers: as it stands in the thread, else as the message itself brought it."""
    if (found := thread_message.quoted) is not None:
        who = _("Você") if found.outgoing else found.author or contact_name(contact)
        said = " ".join(found.text.split()) or message_kind_word(found.kind)
    elif (brought := thread_message.message.detail.get("quoted")) is not None:
        who = quoted_name(brought.get("author"), contact, people)
        kind = brought.get("kind")
        said = brought.get("text") or (message_kind_word(kind) if kind else "") or _("mensagem anterior")
    else:
        return
    st.caption(f"> **{literal(who)}** {literal(said)}" if who else f"> {literal(said)}")


def _content(contact: Contact, thread_message: ThreadMessage, people: PeopleNames) -> None:
    message = thread_message.message
    if message.kind == REVOKED_TYPE:
        st.caption(message_kind_word(REVOKED_TYPE))
        return
    if thread_message.annotations.revoked_at is not None:
        st.caption(_("Apagada no WhatsApp. Dizia:"))
    has_place = _file(contact, thread_message)
    if message.kind in DETAIL_KINDS:
        _detail(thread_message, people)
    elif message.body:
        st.text(name_mentions(message, people))
    elif not has_place:
        st.caption(message_kind_word(message.kind))
    for line in (message.detail.get("footer"), describe_buttons(message.detail)):
        if line:
            st.caption(literal(line))


def _file(contact: Contact, thread_message: ThreadMessage) -> bool:
    """A message's file, or what is said in its place; False where it is of no kind that has one."""
    message = thread_message.message
    view_once = bool(message.detail.get("view_once"))
    if message.media_sha256 is not None:
        media.show_file(contact.user_id, message.kind, message.media_sha256, message.mimetype, message.filename)
    elif view_once:
        st.caption(view_once_words(message.kind))
    elif message.kind in FILE_TYPES and message.direction == "in":
        _missing_file(thread_message)
    return message.media_sha256 is not None or view_once or message.kind in FILE_TYPES


def _detail(thread_message: ThreadMessage, people: PeopleNames) -> None:
    message = thread_message.message
    text = name_mentions(message, people)
    st.text(describe_detail(message.kind, text, message.detail, thread_message.annotations.votes))
    if message.kind == "location" and "lat" in message.detail and "lng" in message.detail:
        _map_link(float(message.detail["lat"]), float(message.detail["lng"]))


def _map_link(lat: float, lng: float) -> None:
    where = f"https://www.openstreetmap.org/?mlat={lat}&mlon={lng}"
    st.link_button(_("Ver no mapa"), where, icon=":material/location_on:")


def _missing_file(thread_message: ThreadMessage) -> None:
    if thread_message.fetching:
        st.caption(_("{what}: buscando o arquivo…").format(what=message_kind_word(thread_message.message.kind)))
        return
    label = _("{what}: buscar o arquivo").format(what=message_kind_word(thread_message.message.kind))
    if st.button(label, key=f"fetch_{thread_message.message.id}", icon=":material/downloading:"):
        with errors.shown():
            conversation_actions.request_file(guard(), thread_message.message.id)
            st.rerun(scope="fragment")


def _foot(actor: Actor, contact: Contact, thread_message: ThreadMessage) -> None:
    """When it was said, what became of it, and the way to its actions."""
    message = thread_message.message
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(_footer(thread_message))
        if contact.user_id == actor.user_id and st.button(
            "", key=f"more_{message.id}", icon=":material/more_horiz:", type="tertiary", help=_("Responder, reagir")
        ):
            st.session_state[CHOSEN_MESSAGE] = message.id
            st.rerun(scope="fragment")


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
