"""Undoes an opt-out that was a slip: for a reason, which stays on the record."""

from uuid import UUID

import streamlit as st

from services.contacts import opt_outs
from services.db.actor import Actor
from ui.kit import flash
from ui.kit.i18n import _
from ui.shell import errors
from ui.shell.guard import guard


def ask(person: str, name: str) -> None:
    """Ask in a dialog why somebody (digits, or a `@lid`) who asked the actor for silence may be written to again."""

    @st.dialog(_("Desfazer o pedido de {name}?").format(name=name))
    def dialog() -> None:
        actor = guard()
        show_fields(actor, person)

    dialog()


def show_fields(actor: Actor, person: str, user_id: UUID | None = None) -> None:
    """The reason and the button; `user_id` is whom they had asked, where an admin undoes it for that person."""
    st.write(
        _(
            "Só desfaça um engano: quem pediu para não receber e recebe mesmo assim denuncia o número. "
            "O motivo fica registrado com o seu nome. O que tinha saído da fila não volta."
        )
    )
    reason = st.text_input(_("Motivo"), max_chars=opt_outs.MAX_REASON_LENGTH, key="undo_reason")
    if st.button(_("Desfazer: pode voltar a receber"), type="primary", icon=":material/undo:", key="undo_confirm"):
        with errors.shown():
            opt_outs.end(actor, person, reason, user_id)
            flash.after_rerun(_("Pedido desfeito."), ":material/undo:")
            st.rerun()
