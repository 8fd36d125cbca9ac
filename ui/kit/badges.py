"""How states look: a word, a colour and an icon, the same on every page."""

from datetime import datetime, timedelta
from typing import Literal

import streamlit as st

from services import settings
from services.diagnostics.check_report import Result
from services.fleet.incidents import DESCRIPTIONS, Kind
from services.fleet.session import Status
from services.fleet.session_texts import FAILURES as SESSION_FAILURES
from services.fleet.session_texts import proof_label
from services.messaging.state import FAILURES as MESSAGE_FAILURES
from services.messaging.state import WAIT_SENTENCES, Message, State, Wait
from ui.kit import dates
from ui.kit.i18n import _

Colour = Literal["red", "orange", "blue", "green", "gray"]
_GENERIC = ("Algo deu errado do nosso lado.", "Tente de novo em instantes; se continuar, fale com o suporte.")

# How a result looks: colour and icon.
RESULT_LOOKS = {
    Result.OK: ("green", ":material/check_circle:"),
    Result.WARNING: ("orange", ":material/warning:"),
    Result.FAULT: ("red", ":material/error:"),
    Result.UNKNOWN: ("gray", ":material/help:"),
}


def session_word(status: Status | None) -> str:
    """The status for people; None for somebody who never connected."""
    if status is None:
        return _("Nunca conectou")
    words = {
        Status.CONNECTED: _("Conectado"),
        Status.PAIRING: _("Pareando"),
        Status.DISCONNECTED: _("Desconectado"),
    }
    return words[status]


def proof_phrase(kind: str | None) -> str:
    """What proved a session, after `por`."""
    return _(proof_label(kind))


def proof_sentence(at: datetime | None, kind: str | None) -> str:
    """When and by what a session that is up last proved to live, and whether that is long ago for one that is quiet."""
    if at is None:
        return _("Ainda sem prova de vida: vale o que o servidor diz.")
    words = _("Provado {ago}, por {what}.")
    if dates.time_since(at).total_seconds() > settings.get().health.max_proof_age_seconds:
        words = _("Sem prova recente: a última foi {ago}, por {what}.")
    return words.format(ago=dates.ago(at), what=proof_phrase(kind))


def proof_text(at: datetime | None, kind: str | None) -> str:
    """When and by what a session last proved to live: `há 2 min por consulta ao WhatsApp`."""
    if at is None:
        return _("nunca")
    return _("{ago} por {what}").format(ago=dates.ago(at), what=proof_phrase(kind))


def incident_text(kind: Kind) -> tuple[str, str]:
    """What is wrong, and what to do."""
    what, next_step = DESCRIPTIONS[kind]
    return _(what), _(next_step)


def session_failure(code: str) -> str:
    """What happened and what to do, as Markdown."""
    return _sentence(SESSION_FAILURES.get(code, _GENERIC))


def message_failure(code: str) -> str:
    """What happened and what to do, as Markdown."""
    return _sentence(MESSAGE_FAILURES.get(code, _GENERIC))


def wait_sentence(wait: Wait) -> str:
    """Why something does not leave, and for how long already: `Esperando seu WhatsApp reconectar, há 4 min.`"""
    what = _(WAIT_SENTENCES[wait.reason])
    if dates.time_since(wait.since) < timedelta(minutes=1):
        return f"{what}."
    return _("{what}, {ago}.").format(what=what, ago=dates.ago(wait.since))


def message_badge(message: Message) -> None:
    """The state of a message as a badge."""
    state_badge(message.state)


def state_badge(state: State) -> None:
    """A message's state as a badge, with WhatsApp's own ticks where it has them."""
    word, colour, icon = _state_looks(state)
    st.badge(word, color=colour, icon=icon)


def state_word(state: State) -> str:
    """A message's state for people."""
    return _state_looks(state)[0]


def _state_looks(state: State) -> tuple[str, Colour, str]:
    words: dict[State, tuple[str, Colour, str]] = {
        State.QUEUED: (_("Na fila"), "gray", ":material/schedule:"),
        State.SENDING: (_("Enviando"), "blue", ":material/arrow_upward:"),
        State.ACCEPTED: (_("Enviando"), "blue", ":material/arrow_upward:"),
        State.SENT: (_("Enviada"), "blue", ":material/check:"),
        State.DELIVERED: (_("Entregue"), "green", ":material/done_all:"),
        State.READ: (_("Lida"), "green", ":material/mark_chat_read:"),
        State.FAILED: (_("Falhou"), "red", ":material/error:"),
        State.UNCERTAIN: (_("Incerta"), "orange", ":material/help:"),
        State.CANCELLED: (_("Cancelada"), "gray", ":material/undo:"),
        State.RECEIVED: (_("Recebida"), "gray", ":material/inbox:"),
    }
    return words[state]


def message_time(message: Message) -> str:
    """When the newest step of a message was; of one that is to leave later, when."""
    if message.state is State.QUEUED and message.run_at > dates.now():
        return dates.short_time(message.run_at)
    moments = (message.read_at, message.delivered_at, message.sent_at, message.ended_at, message.created_at)
    return dates.short_time(next(moment for moment in moments if moment is not None))


def _sentence(texts: tuple[str, str]) -> str:
    return f"**{_(texts[0])}** {_(texts[1])}"
