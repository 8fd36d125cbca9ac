"""Doubts and their end: what is known of each uncertain message, and the three things that its owner can make of it."""

from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import streamlit as st

from services import dossier, messages
from services.db.actor import Actor
from services.errors import ServiceError
from services.messages import Decision, Message
from services.wppconnect.answers import ChatMessage
from ui import compose, confirm, errors, times
from ui import dossier as story
from ui.text import _


def own(actor: Actor) -> None:
    """The actor's own doubts, oldest first."""
    found = messages.uncertain(actor)
    if not found:
        st.success(_("Nenhuma mensagem incerta: de todas se sabe se saíram."), icon=":material/check_circle:")
    for message in found:
        with st.container(border=True, key=f"doubt_{message.id}"):
            _doubt(actor, message)


def counts(actor: Actor) -> None:
    """For staff: how many wait for whom. Never what they say."""
    st.subheader(_("Na equipe: quem tem o que decidir"), anchor=False)
    waiting = messages.waiting_decisions(actor)
    if not waiting:
        st.caption(_("Ninguém tem mensagem incerta esperando decisão."))
        return
    st.dataframe(
        {
            _("Usuário"): [one.email or str(one.user_id) for one in waiting],
            _("Incertas"): [one.count for one in waiting],
            _("Desde"): [times.clock(one.oldest) for one in waiting],
        },
        hide_index=True,
    )


def _doubt(actor: Actor, message: Message) -> None:
    compose.head(message)
    compose.shown(actor, message)
    with st.expander(_("O que se sabe")):
        with errors.shown():
            story.moments(dossier.of(actor, message.id))
        if st.button(_("Ver a conversa agora"), icon=":material/forum:", key=f"chat_{message.id}"):
            _chat(actor, message.id)
    with st.container(horizontal=True):
        if st.button(_("Saiu"), icon=":material/check:", key=f"left_{message.id}"):
            with errors.shown():
                messages.decide(actor, message.id, Decision.LEFT)
                st.toast(_("Anotado: a mensagem saiu."), icon=":material/check:")
        if st.button(_("Não saiu, enviar de novo"), icon=":material/send:", key=f"again_{message.id}"):
            confirm.send_again(partial(_end, message.id, Decision.AGAIN))
        if st.button(_("Descartar"), icon=":material/delete:", key=f"drop_{message.id}", type="tertiary"):
            confirm.drop_message(partial(_end, message.id, Decision.DROPPED))


def _end(message_id: UUID, decision: Decision, actor: Actor) -> None:
    try:
        messages.decide(actor, message_id, decision)
    except ServiceError as error:
        errors.report(error)
        errors.show(error)
        return
    st.rerun()


def _chat(actor: Actor, message_id: UUID) -> None:
    with errors.shown():
        chat = messages.chat_of(actor, message_id)
        if not chat:
            st.info(_("Na conversa não há nada enviado por você perto dessa hora."), icon=":material/search_off:")
        for one in chat:
            _line(one)


def _line(one: ChatMessage) -> None:
    when = times.clock(datetime.fromtimestamp(one.timestamp, UTC)) if one.timestamp else ""
    words = {str(kind): word for kind, word in compose.kind_words().items()}
    text = one.body if one.type == "chat" else f"{words.get(one.type, one.type)} {one.caption or ''}"
    st.text(f"{when}  {text}")
