"""Decisions on the screen about messages that are uncertain, and about those that waited too long."""

from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import streamlit as st

from services import settings
from services.db.actor import Actor
from services.diagnostics import message_trace
from services.errors import ServiceError
from services.messaging import overdue, uncertain
from services.messaging.overdue import OverdueChoice, OverdueGroup
from services.messaging.state import Message
from services.messaging.uncertain import Decision
from services.wppconnect.results import ChatMessage
from ui.components import confirm
from ui.components.message_trace import show_steps
from ui.kit import dates
from ui.kit.i18n import _, literal
from ui.sending import compose
from ui.shell import errors, navigation


def show_own(actor: Actor) -> None:
    """The actor's own doubts, oldest first."""
    found = uncertain.list_uncertain(actor)
    if not found:
        st.success(_("Nenhuma mensagem incerta: de todas se sabe se saíram."), icon=":material/check_circle:")
    for message in found:
        with st.container(border=True, key=f"doubt_{message.id}"):
            _show_message(actor, message)


def banner(actor: Actor, campaign_id: UUID | None = None) -> None:
    """On other pages: that messages (of one campaign, or any) wait for the actor's word, and the way there."""
    found = [one for one in overdue.list_overdue_groups(actor) if campaign_id in (None, one.campaign_id)]
    if found:
        count = sum(one.count for one in found)
        st.warning(
            _("**{n} mensagens esperaram demais e não saem mais sozinhas.** Decida o que fazer com elas.").format(
                n=count
            ),
            icon=":material/hourglass_disabled:",
        )
        navigation.link("uncertain.py", _("Decidir em “Incertos”"), ":material/help:")


def show_overdue(actor: Actor) -> None:
    """What waited too long and leaves only when the actor says so: one decision for many, or one by one."""
    found = overdue.list_overdue_groups(actor)
    if not found:
        return
    st.subheader(_("Esperaram demais"), anchor=False)
    st.caption(
        _(
            "O servidor ou o seu WhatsApp esteve fora por mais de {n} h. Nada disto saiu, e nada sai sem a sua palavra."
        ).format(n=settings.get().sending.ask_after_hours)
    )
    for number, question in enumerate(found):
        with st.container(border=True, key=f"question_{number}"):
            _show_group(question, number)
    with st.expander(_("Ver as mensagens, uma a uma")):
        for message in overdue.list_overdue(actor):
            with st.container(border=True, key=f"asked_{message.id}"):
                compose.show_head(message)
                compose.show_content(actor, message)
                _decision_buttons(actor, message.id)
    st.subheader(_("Não se sabe se saíram"), anchor=False)


def _show_group(question: OverdueGroup, number: int) -> None:
    name = question.campaign if question.campaign_id else _("Fora de campanhas")
    st.markdown(
        _("**{name}**: {n} mensagens, {ago}").format(
            name=literal(name or _("Campanha")), n=question.count, ago=dates.ago(question.oldest)
        )
    )
    with st.container(horizontal=True):
        if st.button(_("Enviar agora"), icon=":material/send:", key=f"question_send_{number}"):
            confirm.send_waiting(question.count, partial(_decide_overdue, OverdueChoice.SEND, question.campaign_id))
        if st.button(_("Descartar"), icon=":material/delete:", key=f"question_drop_{number}", type="tertiary"):
            confirm.discard_waiting(
                question.count, partial(_decide_overdue, OverdueChoice.DISCARD, question.campaign_id)
            )


def _decide_overdue(choice: OverdueChoice, campaign_id: UUID | None, actor: Actor) -> None:
    try:
        overdue.decide_overdue(actor, choice, campaign_id=campaign_id, loose=campaign_id is None)
    except ServiceError as error:
        errors.report(error)
        errors.show(error)
        return
    st.rerun()


def _decision_buttons(actor: Actor, message_id: UUID) -> None:
    words = {
        OverdueChoice.SEND: (_("Enviar agora"), ":material/send:"),
        OverdueChoice.DISCARD: (_("Descartar"), ":material/delete:"),
    }
    with st.container(horizontal=True):
        for choice, (word, icon) in words.items():
            if st.button(word, icon=icon, key=f"{choice}_{message_id}", type="tertiary"):
                with errors.shown():
                    overdue.decide_overdue(actor, choice, message_id=message_id)
                    st.rerun(scope="fragment")


def show_counts(actor: Actor) -> None:
    """For staff: how many wait for whom. Never what they say."""
    st.subheader(_("Na equipe: quem tem o que decidir"), anchor=False)
    waiting = uncertain.count_decisions_waiting(actor)
    if not waiting:
        st.caption(_("Ninguém tem mensagem incerta esperando decisão."))
        return
    st.dataframe(
        {
            _("Usuário"): [one.email or str(one.user_id) for one in waiting],
            _("Incertas"): [one.count for one in waiting],
            _("Desde"): [dates.short_time(one.oldest) for one in waiting],
        },
        hide_index=True,
    )


def _show_message(actor: Actor, message: Message) -> None:
    compose.show_head(message)
    compose.show_content(actor, message)
    with st.expander(_("O que se sabe")):
        with errors.shown():
            show_steps(message_trace.get_trace(actor, message.id))
        if st.button(_("Ver a conversa agora"), icon=":material/forum:", key=f"chat_{message.id}"):
            _show_chat(actor, message.id)
    with st.container(horizontal=True):
        if st.button(_("Saiu"), icon=":material/check:", key=f"left_{message.id}"):
            with errors.shown():
                uncertain.decide(actor, message.id, Decision.LEFT)
                st.toast(_("Anotado: a mensagem saiu."), icon=":material/check:")
        if st.button(_("Não saiu, enviar de novo"), icon=":material/send:", key=f"again_{message.id}"):
            confirm.send_again(partial(_decide, message.id, Decision.AGAIN))
        if st.button(_("Descartar"), icon=":material/delete:", key=f"drop_{message.id}", type="tertiary"):
            confirm.drop_message(partial(_decide, message.id, Decision.DROPPED))


def _decide(message_id: UUID, decision: Decision, actor: Actor) -> None:
    try:
        uncertain.decide(actor, message_id, decision)
    except ServiceError as error:
        errors.report(error)
        errors.show(error)
        return
    st.rerun()


def _show_chat(actor: Actor, message_id: UUID) -> None:
    with errors.shown():
        chat = uncertain.read_chat(actor, message_id)
        if not chat:
            st.info(_("Na conversa não há nada enviado por você perto dessa hora."), icon=":material/search_off:")
        for one in chat:
            _show_chat_line(one)


def _show_chat_line(one: ChatMessage) -> None:
    when = dates.short_time(datetime.fromtimestamp(one.timestamp, UTC)) if one.timestamp else ""
    words = {str(kind): word for kind, word in compose.kind_words().items()}
    text = one.body if one.type == "chat" else f"{words.get(one.type, one.type)} {one.caption or ''}"
    st.text(f"{when}  {text}")
