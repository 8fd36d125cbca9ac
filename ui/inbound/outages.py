"""Outages on the screen: from when to when, which messages came back, and which did not and why."""

from collections.abc import Sequence
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from services.db.actor import Actor
from services.inbound import outages
from services.inbound.outages import LOOKBACK, Outage, OutageReason, OutageState, SessionOutage
from services.wppconnect.phone import ChatKind, format_phone, get_chat_kind
from ui.kit import dates
from ui.kit.i18n import _

Colour = Literal["red", "orange", "green", "blue"]
Outcome = Literal["reading", "failed", "part", "done"]
OUTCOME_LOOKS: dict[Outcome, tuple[Colour, str]] = {
    "reading": ("blue", ":material/sync:"),
    "failed": ("red", ":material/error:"),
    "part": ("orange", ":material/warning:"),
    "done": ("green", ":material/check:"),
}


def show_figures(found: Sequence[SessionOutage | Outage]) -> None:
    """What came back in all, and what is still to do."""
    values = {
        _("Mensagens recuperadas"): sum(one.recovered for one in found),
        _("Lacunas em leitura"): sum(one.unread for one in found),
        _("Conversas não lidas"): sum(one.failed for one in found),
    }
    for column, (label, value) in zip(st.columns(3), values.items(), strict=True):
        column.metric(label, value, border=True)


def explain_none() -> None:
    """What it means that there is none."""
    st.success(
        _("**Nenhuma lacuna.** O console nunca esteve fora do ar enquanto o seu WhatsApp estava conectado."),
        icon=":material/done_all:",
    )


def show_card(actor: Actor, one: SessionOutage | Outage) -> None:
    """One gap of somebody's own, or what one time meant for all sessions."""
    if isinstance(one, Outage):
        _common_outage(actor, one)
    else:
        _session_outage(actor, one)


def _session_outage(actor: Actor, outage: SessionOutage) -> None:
    with st.container(border=True, key=f"outage_{outage.id}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{_period(outage)}**")
            _outcome_badge(_outcome_of(outage))
        st.caption(" · ".join([_reason_word(outage.reason), *_time_limits(outage)]))
        if outage.unread:
            st.progress(outage.fraction, text=_progress(outage))
        st.text(_outcome_text(outage))
        if outage.failed and outage.user_id == actor.user_id:
            _lost_chats(actor, outage)


def _common_outage(actor: Actor, one: Outage) -> None:
    key = f"{one.reason}_{one.from_at.timestamp():.6f}_{one.to_at.timestamp() if one.to_at else 0:.6f}"
    with st.container(border=True, key=f"outage_{key}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{_period(one)}**")
            _outcome_badge(_outcome_of(one))
        sessions = _("1 sessão") if one.sessions == 1 else _("{n} sessões").format(n=one.sessions)
        st.caption(" · ".join([_reason_word(one.reason), sessions, *_time_limits(one)]))
        if one.unread:
            st.progress(1 - one.unread / one.sessions, text=_("Faltam {n}").format(n=one.unread))
        st.text(_recovered(one.recovered, over=not one.unread) + _not_read(one.failed))
        box = st.expander(_("De quem"), icon=":material/group:", key=f"outage_of_{key}", on_change="rerun")
        if box.open:
            _affected_users(actor, one, box)


def _affected_users(actor: Actor, one: Outage, box: DeltaGenerator) -> None:
    found = outages.list_session_outages(actor, one)
    rows = [
        {
            _("Pessoa"): outage.email or "—",
            _("Situação"): _outcome_word(_outcome_of(outage)),
            _("Resultado"): _outcome_text(outage),
        }
        for outage in found
    ]
    box.dataframe(rows, hide_index=True)
    if one.sessions > len(found):
        box.caption(_("As {n} primeiras: o que falta e o que falhou vem antes.").format(n=len(found)))


def _time_limits(one: SessionOutage | Outage) -> list[str]:
    if one.to_at is None or one.to_at - one.from_at <= LOOKBACK:
        return []
    return [_("lidos só os últimos {n} dias").format(n=LOOKBACK.days)]


def _period(outage: SessionOutage | Outage) -> str:
    if outage.reason is OutageReason.ASKED and outage.to_at is not None:
        return _("Pedido em {moment}").format(moment=dates.to_the_second(outage.to_at))
    end = dates.to_the_second(outage.to_at) if outage.to_at else _("agora")
    return f"{dates.to_the_second(outage.from_at)} – {end}"


def _outcome_of(one: SessionOutage | Outage) -> Outcome:
    """What became of it; of an outage whatever is worst, but what is still read first."""
    if one.unread:
        return "reading"
    return "failed" if one.given_up else "part" if one.failed else "done"


def _outcome_word(fate: Outcome) -> str:
    words: dict[Outcome, str] = {
        "reading": _("Em leitura"),
        "failed": _("Não recuperada"),
        "part": _("Recuperada em parte"),
        "done": _("Recuperada"),
    }
    return words[fate]


def _outcome_badge(fate: Outcome) -> None:
    colour, icon = OUTCOME_LOOKS[fate]
    st.badge(_outcome_word(fate), color=colour, icon=icon)


def _reason_word(reason: OutageReason) -> str:
    words = {
        OutageReason.RECEIVER: _("O receptor estava fora do ar"),
        OutageReason.DATABASE: _("O receptor não alcançava o banco de dados"),
        OutageReason.SESSION: _("O WhatsApp estava desconectado"),
        OutageReason.SERVER: _("O servidor do WhatsApp não respondia"),
        OutageReason.ASKED: _("Conversa relida a pedido"),
    }
    return words[reason]


def _progress(outage: SessionOutage) -> str:
    if outage.state is OutageState.READING:
        return _("Lendo {n} conversas…").format(n=outage.chats) if outage.chats else _("Vendo quais conversas mudaram…")
    if outage.attempts:
        return _("Nova tentativa {moment}: {why}").format(
            moment=dates.short_time(outage.next_at), why=unread_reason(outage.failure or "")
        )
    return _("Na fila: será lida assim que o WhatsApp estiver conectado.")


def _recovered(messages: int, *, over: bool) -> str:
    if not messages and not over:
        return _("Nenhuma mensagem recuperada até agora")
    words = {0: _("Nenhuma mensagem faltava"), 1: _("1 mensagem recuperada")}
    return words.get(messages) or _("{n} mensagens recuperadas").format(n=messages)


def _not_read(chats: int) -> str:
    return " · " + _("{n} não lidas por completo").format(n=chats) if chats else ""


def _outcome_text(outage: SessionOutage) -> str:
    said = _recovered(outage.recovered, over=outage.state is OutageState.DONE)
    if outage.chats:
        said += " · " + _("{n} conversas conferidas").format(n=outage.chats - outage.failed)
    said += _not_read(outage.failed)
    if outage.state is OutageState.FAILED:
        said += " · " + unread_reason(outage.failure or "")
    return said


def _lost_chats(actor: Actor, outage: SessionOutage) -> None:
    with st.expander(_("O que não pôde ser lido"), icon=":material/chat_error:"):
        rows = [
            {_("Conversa"): _chat_name(one.address), _("Por quê"): unread_reason(one.failure)}
            for one in outages.list_lost_chats(actor, outage.id)
        ]
        st.table(rows, hide_index=True)
        st.caption(_("Em “Conversas”, abra o contato e use “Ler de novo” para tentar outra vez."))


def _chat_name(address: str) -> str:
    user, _at, server = address.partition("@")
    words = {ChatKind.GROUP: _("Grupo"), ChatKind.CHANNEL: _("Canal"), ChatKind.BROADCAST: _("Lista de transmissão")}
    if (word := words.get(get_chat_kind(address))) is not None:
        return f"{word} {user}"
    return format_phone(user) if server == "c.us" else user


def unread_reason(code: str) -> str:
    """Why something could not be read, as people say it."""
    words = {
        "too_deep": _("a conversa tem mensagens demais; lemos as 1.000 mais novas"),
        "too_many": _("conversas demais mudaram; lemos as 500 mais novas"),
        "wppconnect_sem_conversa": _("o celular não tem mais essa conversa"),
        "wppconnect_inacessivel": _("o servidor do WhatsApp não respondeu"),
        "wppconnect_desconectado": _("o WhatsApp não estava conectado"),
        "unknown_kind": _("um tipo de conversa que não sabemos ler"),
        "configuracao": _("o servidor desta conexão não está mais configurado"),
    }
    return words.get(code) or _("o servidor do WhatsApp recusou a leitura")
