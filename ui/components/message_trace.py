"""A message's trace on the screen: the conclusion first, then every step with its time."""

from uuid import UUID

import streamlit as st

from services.db.actor import Actor
from services.diagnostics.check_report import Result, Step
from services.diagnostics.message_trace import MessageTrace, TraceStep
from services.messaging import outbox
from services.messaging.state import State
from services.wppconnect.phone import format_phone
from ui.kit import badges, dates
from ui.kit.badges import RESULT_LOOKS
from ui.kit.i18n import _
from ui.shell import navigation


def link(message_id: UUID, state: State) -> None:
    """The way from a message to its story."""
    arrived = state in (State.DELIVERED, State.READ)
    label = _("Passo a passo") if arrived else _("Por que não chegou?")
    navigation.link("message.py", label, ":material/quiz:", id=str(message_id))


def show_message(actor: Actor, found: MessageTrace) -> None:
    """Which message it is: its owner sees the text, nobody else does."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.text(format_phone(found.phone))
            with st.container(horizontal=True, vertical_alignment="center", width="content"):
                badges.state_badge(found.state)
                st.caption(dates.short_time(found.created_at))
        if found.user_id == actor.user_id:
            st.text(outbox.get_message(actor, found.id).body)
        else:
            st.caption(_("O texto e o número completo são só da própria pessoa."))


def show_conclusion(actor: Actor, found: MessageTrace) -> None:
    """The answer to the page's question, and the next step."""
    end = found.conclusion
    show = {Result.OK: st.success, Result.WARNING: st.warning, Result.FAULT: st.error, Result.UNKNOWN: st.info}
    sentence = f"**{_(end.what)}** {_(end.todo)}".format(**end.params)
    show[end.result](sentence, icon=RESULT_LOOKS[end.result][1])
    own = found.user_id == actor.user_id
    with st.container(horizontal=True):
        if own and end.step is Step.PAIR:
            navigation.link("my_whatsapp.py", _("Ir para Meu WhatsApp"), ":material/qr_code_2:")
        if own:
            navigation.link("send.py", _("Ir para Enviar"), ":material/send:")
            navigation.link("diagnostics.py", _("Diagnóstico da sessão"), ":material/stethoscope:")
        else:
            user = str(found.user_id)
            navigation.link("diagnostics.py", _("Diagnóstico da sessão"), ":material/stethoscope:", user=user)


def show_steps(found: MessageTrace) -> None:
    """Every step, the first on top."""
    st.subheader(_("Passo a passo"), anchor=False)
    with st.container(border=True):
        for one in found.moments:
            _show_step(one)


def _show_step(one: TraceStep) -> None:
    colour, icon = ("gray", ":material/schedule:") if one.ahead else RESULT_LOOKS[one.result]
    with st.container(gap=None):
        st.markdown(f":{colour}[{icon}] {_(one.what).format(**one.params)}")
        if one.at is not None:
            st.caption(dates.to_the_second(one.at))
