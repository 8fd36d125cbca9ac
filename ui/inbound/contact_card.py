"""A contact's card in a dialog: names, labels, notes, block, opt-out."""

from uuid import UUID

import streamlit as st

from services.contacts import contacts
from services.contacts.contacts import Contact
from services.db.actor import Actor, Role
from services.inbound import backfill
from services.wppconnect.phone import format_phone
from ui.components import opt_out_undo
from ui.kit.i18n import _, literal
from ui.shell import errors
from ui.shell.guard import guard


def show_card(contact: UUID, own: bool) -> None:
    """The contact's card in a dialog: staff who look through broken glass only read it."""

    @st.dialog(_("Contato"))
    def ask() -> None:
        actor = guard()
        with errors.stopping():
            found = contacts.get(actor, contact)
        addresses = [format_phone(found.phone) if found.phone else "", found.address, found.lid or ""]
        st.text("\n".join(dict.fromkeys(one for one in addresses if one)))
        if found.pushname:
            st.caption(_("Chama-se no WhatsApp:") + " " + literal(found.pushname))
        if not own:
            st.text(found.notes)
            if actor.role is Role.ADMIN:
                _undo_opt_out(actor, found)
            return
        _card_form(actor, found)
        _card_switches(actor, found)
        _undo_opt_out(actor, found)

    ask()


def _card_form(actor: Actor, found: Contact) -> None:
    with st.form("card", border=False):
        name = st.text_input(_("Nome"), found.name or "", max_chars=contacts.MAX_NAME_LENGTH, key="card_name")
        labels = st.multiselect(
            _("Etiquetas"), list(found.labels), list(found.labels), accept_new_options=True, key="card_labels"
        )
        notes = st.text_area(_("Anotações"), found.notes, max_chars=contacts.MAX_NOTES_LENGTH, key="card_notes")
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
            not found.is_group
            and (found.phone or found.lid)
            and st.checkbox(_("Pediu para não receber mais"), key="card_out_sure")
            and st.button(_("Confirmar: não enviar mais"), icon=":material/notifications_off:", key="card_out")
        ):
            with errors.shown():
                contacts.opt_out(actor, found.id)
                st.rerun()
    if reread:
        with errors.shown():
            backfill.request_chat(actor, found.id)
            st.info(
                _("Lendo as mensagens dos últimos 30 dias no WhatsApp. O resultado aparece em “Lacunas”."),
                icon=":material/sync:",
            )


def _undo_opt_out(actor: Actor, found: Contact) -> None:
    """A dialog opens no other one: the question stands in the card itself."""
    person = found.phone or found.lid
    if found.opted_out and person:
        with st.expander(_("Desfazer o pedido para não receber"), icon=":material/undo:"):
            opt_out_undo.show_fields(actor, person, found.user_id)
