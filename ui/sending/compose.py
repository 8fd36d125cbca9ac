"""Writes a message of any kind and shows how far it is."""

import contextlib
import re
from collections.abc import Callable
from uuid import UUID, uuid4

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.typing import UploadedFile

from services.contacts import opt_outs
from services.db.actor import Actor
from services.errors import Conflict, InvalidInput
from services.messaging import attachments, outbox
from services.messaging.attachments import UPLOAD_MB, Attachment
from services.messaging.content import WITH_FILE, Content, EmptyMessage, Kind
from services.messaging.file_types import ACCEPTED
from services.messaging.state import Message, State
from services.wppconnect.errors import InvalidPhone
from services.wppconnect.phone import format_phone, normalise, read_address
from ui.components import media, message_preview, message_trace, uploads
from ui.kit import badges
from ui.kit.i18n import _
from ui.sending import restriction
from ui.shell import errors

# One key a draft, in the page's address: a double click, a reload in mid-submit or a repeated run queues one message.
DRAFT = "rascunho"
DRAFT_QUEUED = "draft_queued"
DRAFT_ROUND = "draft_round"
PREPARED_FILE = "draft_prepared"
FIELDS = ("compose_phone", "compose_contact", "compose_text", "compose_title", "compose_address", "compose_name")
MESSAGES_SHOWN = 20
_KEY = re.compile(r"[0-9a-f]{32}")


def show_form(actor: Actor) -> None:
    """Everything that a message is made of; it stays when something is wrong with it, and goes when it was queued."""
    key = draft_key()
    if st.session_state.pop(DRAFT_QUEUED, False):
        st.session_state.update(dict.fromkeys(FIELDS, ""))
        st.toast(_("Mensagem na fila."), icon=":material/schedule:")
    with st.container(border=True, key="compose"):
        kind = _choose_kind()
        to, name = st.columns([3, 2])
        phone = to.text_input(_("Para (WhatsApp)"), placeholder="(11) 99999-9999", key="compose_phone")
        contact = name.text_input(_("Nome (opcional)"), key="compose_contact", max_chars=80)
        # What appears while one writes stands below the button: leaving a field by pressing the button must not move it
        # away from under the press.
        fields, press, below = st.container(), st.container(), st.container()
        with below:
            _warn_of_recipient(actor, phone)
        with fields:
            make = _content_fields(actor, kind, below)
        with press:
            if st.button(_("Enviar"), type="primary", icon=":material/send:", key="send"):
                with errors.shown():
                    _queue_message(actor, phone, make, key, contact.strip() or None)
                    _start_new_draft()
                    st.rerun()


def _warn_of_recipient(actor: Actor, phone: str) -> None:
    """Whoever writes by hand decides; but knows that the person asked for silence, or that WhatsApp refuses it now."""
    with contextlib.suppress(InvalidPhone):  # while it is typed; sending says what is wrong with it
        address = read_address(phone)
        restriction.warn_of_strangers(actor, {address})
        if opt_outs.is_opted_out(actor, address):
            st.warning(
                _("Esta pessoa pediu para não receber mensagens. Escreva só para responder a ela."),
                icon=":material/notifications_off:",
            )


def draft_key() -> str:
    """The key of what is being written in this tab, also after a reload."""
    found = st.query_params.get(DRAFT, "")
    if not _KEY.fullmatch(found):
        found = st.query_params[DRAFT] = uuid4().hex
    return found


def _start_new_draft() -> None:
    st.query_params[DRAFT] = uuid4().hex
    st.session_state[DRAFT_QUEUED] = True
    st.session_state[DRAFT_ROUND] = st.session_state.get(DRAFT_ROUND, 0) + 1
    st.session_state.pop(PREPARED_FILE, None)


def _queue_message(actor: Actor, phone: str, make: Callable[[], Content], key: str, contact: str | None) -> None:
    read_address(phone)  # before the file is kept: most often it is the number that is wrong
    content = make()
    try:
        outbox.queue(actor, phone, content, key, contact)
    except Conflict as error:
        if error.code != Conflict.code:
            raise
        # The draft's key went out with another message before a reload: this is a new one.
        outbox.queue(actor, phone, content, uuid4().hex, contact)


# --- what it carries --------------------------------------------------------------------------------------------------


def kind_words() -> dict[Kind, str]:
    """The kinds of message as people call them."""
    return {
        Kind.TEXT: _("Texto"),
        Kind.IMAGE: _("Imagem"),
        Kind.VIDEO: _("Vídeo"),
        Kind.VOICE: _("Voz"),
        Kind.AUDIO: _("Áudio"),
        Kind.DOCUMENT: _("Documento"),
        Kind.STICKER: _("Figurinha"),
        Kind.LOCATION: _("Local"),
        Kind.CONTACT: _("Contato"),
    }


def _choose_kind() -> Kind:
    words = kind_words()
    chosen = st.segmented_control(
        _("O que enviar"), list(words), default=Kind.TEXT, format_func=words.__getitem__, key="compose_kind"
    )
    return Kind(chosen or Kind.TEXT)


def _content_fields(actor: Actor, kind: Kind, below: DeltaGenerator) -> Callable[[], Content]:
    """The kind's fields, and its preview `below`; what is returned makes the content when it is to be sent."""
    if kind in WITH_FILE:
        return _file_fields(actor, kind, below)
    if kind is Kind.LOCATION:
        return _location_fields(below)
    if kind is Kind.CONTACT:
        return _card_fields(below)
    text = st.text_area(_("Mensagem"), height=140, key="compose_text")
    if text.strip():
        _preview(below, kind, text)
    return lambda: Content(body=text)


def _file_fields(actor: Actor, kind: Kind, below: DeltaGenerator) -> Callable[[], Content]:
    upload = _upload(kind)
    captioned = kind in (Kind.IMAGE, Kind.VIDEO, Kind.DOCUMENT)
    caption = st.text_area(_("Legenda (opcional)"), height=80, key="compose_text") if captioned else ""
    made: Attachment | None = None
    with errors.shown():
        made = _prepare_file(kind, upload) if upload is not None else None
    if made is not None:
        for notice in made.notices:
            below.warning(_(notice), icon=":material/animation:")
        _preview(below, kind, caption, source=made.thumbnail, filename=made.filename)

    def make() -> Content:
        if upload is None:
            raise EmptyMessage("no file")
        return attachments.store_attachment(actor, made or _prepare_file(kind, upload), caption.strip())

    return make


def _upload(kind: Kind) -> UploadedFile | None:
    """A file from the disk, the camera or the microphone. A new draft gets new widgets, which hold nothing."""
    number = st.session_state.get(DRAFT_ROUND, 0)
    accepted = _(ACCEPTED[kind]) if kind in ACCEPTED else _("qualquer arquivo")
    label = _("Arquivo ({accepted}, até {limit} MB)").format(accepted=accepted, limit=UPLOAD_MB[kind])
    found = st.file_uploader(label, key=f"compose_file_{kind}_{number}")
    if found is None and kind is Kind.VOICE:
        found = st.audio_input(_("Ou grave agora"), sample_rate=16000, key=f"compose_voice_{number}")
    if found is None and kind is Kind.IMAGE and st.toggle(_("Usar a câmera"), key=f"compose_camera_{number}"):
        found = st.camera_input(_("Tire a foto"), key=f"compose_photo_{number}")
    return found


def _prepare_file(kind: Kind, upload: UploadedFile) -> Attachment:
    content = upload.getvalue()
    return uploads.make_once(
        PREPARED_FILE,
        (kind, upload.file_id),
        uploads.waiting_words(kind, content),
        lambda: attachments.prepare(kind, content, upload.name),
    )


def _location_fields(below: DeltaGenerator) -> Callable[[], Content]:
    south, east = st.columns(2)
    lat = south.number_input(_("Latitude"), -90.0, 90.0, -23.55052, format="%.6f", key="compose_lat")
    lng = east.number_input(_("Longitude"), -180.0, 180.0, -46.633308, format="%.6f", key="compose_lng")
    title = st.text_input(_("Nome do lugar"), key="compose_title", max_chars=120)
    address = st.text_input(_("Endereço"), key="compose_address", max_chars=250)
    detail = {"lat": lat, "lng": lng, "title": title.strip(), "address": address.strip()}
    _preview(below, Kind.LOCATION, "", detail=detail)
    return lambda: Content(kind=Kind.LOCATION, detail=detail)


def _card_fields(below: DeltaGenerator) -> Callable[[], Content]:
    name = st.text_input(_("Nome do contato"), key="compose_name", max_chars=80).strip()
    number = st.text_input(_("Telefone do contato"), placeholder="(11) 99999-9999", key="compose_title")
    if name and number:
        _preview(below, Kind.CONTACT, "", detail={"name": name, "phone": number})

    def make() -> Content:
        if not name:
            raise InvalidInput("a card without a name")
        return Content(kind=Kind.CONTACT, detail={"name": name, "phone": normalise(number)})

    return make


def _preview(
    below: DeltaGenerator,
    kind: Kind,
    text: str,
    source: str | None = None,
    filename: str | None = None,
    detail: dict[str, object] | None = None,
) -> None:
    below.caption(_("Como a pessoa vai ver:"))
    with below.container(key="preview"):
        message_preview.draw(kind, text.strip(), source=source, filename=filename, detail=detail)


# --- what became of it ------------------------------------------------------------------------------------------------


def show_recent(actor: Actor) -> None:
    """The newest messages with their states."""
    found = outbox.list_recent(actor, MESSAGES_SHOWN)
    if not found:
        st.caption(_("Nada enviado ainda. O que você enviar aparece aqui e muda de estado sozinho."))
    for message in found:
        with st.container(border=True, key=f"message_{message.id}"):
            _show_message(actor, message)


def _show_message(actor: Actor, message: Message) -> None:
    show_head(message)
    show_content(actor, message)
    if message.failure and message.state in (State.FAILED, State.UNCERTAIN, State.CANCELLED):
        st.caption(badges.message_failure(message.failure))
    if message.waiting is not None:
        st.caption(f":material/hourglass_empty: {badges.wait_sentence(message.waiting)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        message_trace.link(message.id, message.state)
        if message.state is State.QUEUED and st.button(
            _("Cancelar"), icon=":material/undo:", key=f"cancel_{message.id}", type="tertiary"
        ):
            with errors.shown():
                _cancel_message(actor, message.id)


def show_head(message: Message) -> None:
    """Whom a message is to, where it is and since when."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        # Of a group, and of somebody whose number WhatsApp keeps to itself, there is only an address.
        number = "" if "@" in message.phone else format_phone(message.phone)
        unnamed = _("Grupo") if message.phone.endswith("@g.us") else _("Sem número")
        st.text(" · ".join(part for part in (message.contact_name, number) if part) or unnamed)
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            badges.message_badge(message)
            st.caption(badges.message_time(message))


def show_content(actor: Actor, message: Message) -> None:
    """What a message carries."""
    if message.kind == Kind.TEXT:
        st.text(message.body)
        return
    kept = message.media_sha256
    source = media.file_url(actor.user_id, kept, message.filename) if kept and actor.user_id else None
    message_preview.draw(message.kind, message.body, source=source, filename=message.filename, detail=message.detail)


def _cancel_message(actor: Actor, message_id: UUID) -> None:
    # At once and without a question: while one is asked, the message leaves.
    outbox.cancel(actor, message_id)
    st.toast(_("Mensagem cancelada: ela não saiu."), icon=":material/undo:")
