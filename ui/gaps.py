"""Gaps on the screen: from when to when somebody was away, what came back, and what did not and why."""

from collections.abc import Sequence
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from services import gaps
from services.db.actor import Actor
from services.gaps import LOOKBACK, Gap, Outage, Reason, State
from services.wppconnect.phone import ChatKind, chat_kind, display
from ui import times
from ui.text import _

Colour = Literal["red", "orange", "green", "blue"]
Fate = Literal["reading", "failed", "part", "done"]
LOOKS: dict[Fate, tuple[Colour, str]] = {
    "reading": ("blue", ":material/sync:"),
    "failed": ("red", ":material/error:"),
    "part": ("orange", ":material/warning:"),
    "done": ("green", ":material/check:"),
}


def figures(found: Sequence[Gap | Outage]) -> None:
    """What came back in all, and what is still to do."""
    values = {
        _("Mensagens recuperadas"): sum(one.recovered for one in found),
        _("Lacunas em leitura"): sum(one.unread for one in found),
        _("Conversas não lidas"): sum(one.failed for one in found),
    }
    for column, (label, value) in zip(st.columns(3), values.items(), strict=True):
        column.metric(label, value, border=True)


def nothing() -> None:
    """What it means that there is none."""
    st.success(
        _("**Nenhuma lacuna.** O console nunca esteve fora do ar enquanto o seu WhatsApp estava conectado."),
        icon=":material/done_all:",
    )


def card(actor: Actor, one: Gap | Outage) -> None:
    """One gap of somebody's own, or what one time meant for all sessions."""
    if isinstance(one, Outage):
        _outage(actor, one)
    else:
        _gap(actor, one)


def _gap(actor: Actor, gap: Gap) -> None:
    with st.container(border=True, key=f"gap_{gap.id}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{_period(gap)}**")
            _badge(_fate(gap))
        st.caption(" · ".join([_reason(gap.reason), *_bounded(gap)]))
        if gap.unread:
            st.progress(gap.fraction, text=_progress(gap))
        st.text(_outcome(gap))
        if gap.failed and gap.user_id == actor.user_id:
            _lost(actor, gap)


def _outage(actor: Actor, one: Outage) -> None:
    key = f"{one.reason}_{one.from_at.timestamp():.6f}_{one.to_at.timestamp() if one.to_at else 0:.6f}"
    with st.container(border=True, key=f"outage_{key}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{_period(one)}**")
            _badge(_fate(one))
        sessions = _("1 sessão") if one.sessions == 1 else _("{n} sessões").format(n=one.sessions)
        st.caption(" · ".join([_reason(one.reason), sessions, *_bounded(one)]))
        if one.unread:
            st.progress(1 - one.unread / one.sessions, text=_("Faltam {n}").format(n=one.unread))
        st.text(_recovered(one.recovered, over=not one.unread) + _not_read(one.failed))
        box = st.expander(_("De quem"), icon=":material/group:", key=f"outage_of_{key}", on_change="rerun")
        if box.open:
            _whose(actor, one, box)


def _whose(actor: Actor, one: Outage, box: DeltaGenerator) -> None:
    found = gaps.of_outage(actor, one)
    rows = [
        {_("Pessoa"): gap.email or "—", _("Situação"): _word(_fate(gap)), _("Resultado"): _outcome(gap)}
        for gap in found
    ]
    box.dataframe(rows, hide_index=True)
    if one.sessions > len(found):
        box.caption(_("As {n} primeiras: o que falta e o que falhou vem antes.").format(n=len(found)))


def _bounded(one: Gap | Outage) -> list[str]:
    if one.to_at is None or one.to_at - one.from_at <= LOOKBACK:
        return []
    return [_("lidos só os últimos {n} dias").format(n=LOOKBACK.days)]


def _period(gap: Gap | Outage) -> str:
    if gap.reason is Reason.ASKED and gap.to_at is not None:
        return _("Pedido em {moment}").format(moment=times.to_the_second(gap.to_at))
    end = times.to_the_second(gap.to_at) if gap.to_at else _("agora")
    return f"{times.to_the_second(gap.from_at)} – {end}"


def _fate(one: Gap | Outage) -> Fate:
    """What became of it; of an outage whatever is worst, but what is still read first."""
    if one.unread:
        return "reading"
    return "failed" if one.given_up else "part" if one.failed else "done"


def _word(fate: Fate) -> str:
    words: dict[Fate, str] = {
        "reading": _("Em leitura"),
        "failed": _("Não recuperada"),
        "part": _("Recuperada em parte"),
        "done": _("Recuperada"),
    }
    return words[fate]


def _badge(fate: Fate) -> None:
    colour, icon = LOOKS[fate]
    st.badge(_word(fate), color=colour, icon=icon)


def _reason(reason: Reason) -> str:
    words = {
        Reason.RECEIVER: _("O receptor estava fora do ar"),
        Reason.DATABASE: _("O receptor não alcançava o banco de dados"),
        Reason.SESSION: _("O WhatsApp estava desconectado"),
        Reason.SERVER: _("O servidor do WhatsApp não respondia"),
        Reason.ASKED: _("Conversa relida a pedido"),
    }
    return words[reason]


def _progress(gap: Gap) -> str:
    if gap.state is State.READING:
        return _("Lendo {n} conversas…").format(n=gap.chats) if gap.chats else _("Vendo quais conversas mudaram…")
    if gap.attempts:
        return _("Nova tentativa {moment}: {why}").format(moment=times.clock(gap.next_at), why=why(gap.why or ""))
    return _("Na fila: será lida assim que o WhatsApp estiver conectado.")


def _recovered(messages: int, *, over: bool) -> str:
    if not messages and not over:
        return _("Nenhuma mensagem recuperada até agora")
    words = {0: _("Nenhuma mensagem faltava"), 1: _("1 mensagem recuperada")}
    return words.get(messages) or _("{n} mensagens recuperadas").format(n=messages)


def _not_read(chats: int) -> str:
    return " · " + _("{n} não lidas por completo").format(n=chats) if chats else ""


def _outcome(gap: Gap) -> str:
    said = _recovered(gap.recovered, over=gap.state is State.DONE)
    if gap.chats:
        said += " · " + _("{n} conversas conferidas").format(n=gap.chats - gap.failed)
    said += _not_read(gap.failed)
    if gap.state is State.FAILED:
        said += " · " + why(gap.why or "")
    return said


def _lost(actor: Actor, gap: Gap) -> None:
    with st.expander(_("O que não pôde ser lido"), icon=":material/chat_error:"):
        rows = [
            {_("Conversa"): _named(one.address), _("Por quê"): why(one.why)} for one in gaps.lost_chats(actor, gap.id)
        ]
        st.table(rows, hide_index=True)
        st.caption(_("Em “Conversas”, abra o contato e use “Ler de novo” para tentar outra vez."))


def _named(address: str) -> str:
    user, _at, server = address.partition("@")
    words = {ChatKind.GROUP: _("Grupo"), ChatKind.CHANNEL: _("Canal"), ChatKind.BROADCAST: _("Lista de transmissão")}
    if (word := words.get(chat_kind(address))) is not None:
        return f"{word} {user}"
    return display(user) if server == "c.us" else user


def why(code: str) -> str:
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
