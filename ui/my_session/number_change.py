"""That another phone was paired: what waits for its owner's word, and both answers."""

import streamlit as st

from services.db.actor import Actor
from services.fleet import own_number
from services.fleet.own_number import NumberChange
from services.outreach import number_change
from services.outreach.number_change import Decision, Waiting
from services.wppconnect.phone import format_phone
from ui.components import confirm
from ui.kit.i18n import _, literal
from ui.shell import errors


def show_number_change(actor: Actor) -> None:
    """The question, while it waits for an answer; nothing else."""
    with errors.stopping():
        change = own_number.get_change(actor)
        waiting = number_change.list_waiting(actor, change) if change is not None else None
    if change is None or waiting is None:
        return
    with st.container(border=True, key="number_change"):
        st.error(
            _("**Este é outro número.** Nada sai até você dizer o que fazer com o que era do número anterior."),
            icon=":material/phonelink_ring:",
        )
        with st.container(gap=None):
            st.text(_("Agora: {phone}").format(phone=format_phone(change.phone)))
            st.text(_("Antes: {phone}").format(phone=format_phone(change.earlier)))
        _show_waiting(waiting)
        st.caption(_("As conversas do número anterior continuam em “Conversas”, só para leitura."))
        with st.container(horizontal=True):
            if st.button(
                _("Continuar pelo número novo"), icon=":material/play_arrow:", key="number_continue", type="primary"
            ):
                _decide(actor, Decision.CONTINUE, change)
            if st.button(_("Descartar"), icon=":material/delete:", key="number_drop"):
                confirm.drop_of_number(format_phone(change.earlier), lambda someone: _drop(someone, change))


def _show_waiting(waiting: Waiting) -> None:
    lines = [_("{n} mensagens na fila").format(n=waiting.messages)] if waiting.messages else []
    lines += [_("Campanha {name}").format(name=literal(name)) for name in waiting.campaigns]
    lines += [_("Agendamento {name}").format(name=literal(name)) for name in waiting.schedules]
    if lines:
        st.markdown(_("Está esperando:") + "\n" + "\n".join(f"- {line}" for line in lines))
    else:
        st.markdown(_("Nada estava esperando para sair."))


def _drop(actor: Actor, change: NumberChange) -> None:
    _decide(actor, Decision.DROP, change)


def _decide(actor: Actor, decision: Decision, change: NumberChange) -> None:
    with errors.shown():
        number_change.decide(actor, decision, change.phone)
        st.rerun()
