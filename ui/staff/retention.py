"""Retention on the screen: what would be deleted, how far a run is, and what earlier runs deleted."""

from datetime import timedelta

import streamlit as st

from services.db.actor import Actor, Role
from services.operations.retention import ExpiredKind, ExpiredRows, Run, RunState, get_history_retention, request_run
from ui.components import confirm
from ui.kit import dates
from ui.kit.i18n import _, number
from ui.shell import errors

# Under this a run's end is news: the person who started it is still looking.
NEWS_AGE = timedelta(minutes=5)


def kind_word(kind: ExpiredKind) -> str:
    """A kind of expired data as people call it."""
    names = {
        ExpiredKind.CODES: _("Códigos QR e de pareamento"),
        ExpiredKind.SESSIONS: _("Sessões desconectadas"),
        ExpiredKind.EVENTS: _("Eventos já tratados"),
        ExpiredKind.PENDING_ACKS: _("Confirmações sem mensagem"),
        ExpiredKind.HEARTBEATS: _("Sinais de processos encerrados"),
        ExpiredKind.SIGN_IN_ATTEMPTS: _("Tentativas de entrada"),
        ExpiredKind.SIGNED_OUT: _("Saídas de acessos já vencidos"),
        ExpiredKind.SECURITY_EVENTS: _("Eventos de segurança"),
        ExpiredKind.TIMELINE: _("Histórico das sessões"),
        ExpiredKind.JOBS: _("Tarefas concluídas"),
        ExpiredKind.MEDIA: _("Arquivos que nenhuma mensagem usa"),
        ExpiredKind.RUNS: _("Registros de limpezas antigas"),
    }
    return names[kind]


def show_expired(actor: Actor, findings: list[ExpiredRows], runs: list[Run]) -> None:
    """What would go, and for admins the button."""
    _show_last_outcome(runs)
    found = [one for one in findings if one.count]
    if not found:
        st.success(_("**Nada para limpar.** Tudo o que está guardado ainda está no prazo."), icon=":material/done_all:")
    else:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(_("Fora do prazo: **{total}**").format(total=number(sum(one.count for one in found))))
            st.space("stretch")
            _purge_button(actor, found)
    st.table([_expired_cells(one) for one in findings], hide_index=True)
    st.caption(
        _(
            "Quem tem mensagens de até {days} dias não perde a sessão nem o histórico: saem só os dados de pareamento "
            "e os que o servidor do WhatsApp guarda. Eventos ainda não tratados nunca são apagados."
        ).format(days=get_history_retention().days)
    )
    st.caption(
        _(
            "De cada sessão o servidor do WhatsApp guarda também um arquivo de token, que nenhuma chamada apaga: "
            "a cada reinício ele abre um navegador por um minuto para ela. Quem opera o servidor pode apagar esses "
            "arquivos com ele parado; o que volta conectado sem ser desejado é encerrado sozinho."
        )
    )


def show_progress(run: Run) -> None:
    """How far the run under way is."""
    with st.container(border=True):
        if run.state is RunState.QUEUED:
            st.progress(0.0, text=_("Na fila: a limpeza começa em instantes…"))
        else:
            st.progress(run.fraction, text=_progress_words(run))
        st.caption(_("Pode fechar esta página: a limpeza continua sozinha."))


def show_history(runs: list[Run]) -> None:
    """Who cleaned when, and what went."""
    ended = [run for run in runs if run.finished_at is not None]
    st.subheader(_("Limpezas anteriores"), anchor=False)
    if not ended:
        st.caption(_("Nenhuma ainda. A primeira acontece sozinha dentro de uma hora."))
        return
    for run in ended:
        with st.container(gap=None):
            # An e-mail is somebody's own text: never read as Markdown.
            st.text(f"{dates.short_time(run.finished_at)} · {_author_word(run)}" if run.finished_at else "")
            st.caption(_result_text(run))


def _purge_button(actor: Actor, found: list[ExpiredRows]) -> None:
    if actor.role is not Role.ADMIN:
        st.caption(_("Só a administração pode limpar antes da hora."))
    elif st.button(_("Limpar agora"), type="primary", icon=":material/mop:", key="cleanup_run"):
        confirm.purge_expired(_consequence_text(found), _start_run)


def _start_run(actor: Actor) -> None:
    with errors.shown(), st.spinner(_("Pedindo a limpeza…")):
        request_run(actor)
        st.rerun()


def _consequence_text(found: list[ExpiredRows]) -> str:
    lines = [_("Serão apagados de vez:"), ""]
    lines += [f"- {kind_word(one.kind)}: **{number(one.count)}**" for one in found]
    return "\n".join([*lines, "", _("Isso não pode ser desfeito. A ação fica registrada em seu nome.")])


def _show_last_outcome(runs: list[Run]) -> None:
    newest = runs[0] if runs else None
    if newest is None or newest.finished_at is None or dates.time_since(newest.finished_at) > NEWS_AGE:
        return
    if newest.state is RunState.FAILED:
        st.error(
            _("**A última limpeza parou no meio.** O que já saiu está contado; o resto continua na próxima."),
            icon=":material/error:",
        )
    elif newest.postponed:
        st.warning(
            _(
                "**Sessões que ficaram para depois: {count}.** O servidor do WhatsApp não respondeu por elas; "
                "a próxima limpeza tenta de novo."
            ).format(count=number(newest.postponed)),
            icon=":material/cloud_off:",
        )


def _progress_words(run: Run) -> str:
    under_way = next((kind for kind in run.kinds if run.counts.get(kind, 0) < run.expected.get(kind, 0)), None)
    expected = max(sum(run.expected.values()), run.gone)
    counted = _("{gone} de {expected}").format(gone=number(run.gone), expected=number(expected))
    doing = kind_word(under_way) if under_way else _("Terminando")
    return f"{doing} · {counted}"


def _expired_cells(one: ExpiredRows) -> dict[str, str]:
    return {
        _("O quê"): kind_word(one.kind),
        _("A apagar"): number(one.count),
        _("Mais antigo"): dates.ago(one.oldest) if one.oldest else "—",
        _("Guardado por"): _days_text(one.retention),
    }


def _author_word(run: Run) -> str:
    return run.by or (_("Automática") if run.actor_id is None else _("Pessoa removida"))


def _result_text(run: Run) -> str:
    went = [f"{kind_word(kind)}: {number(run.counts[kind])}" for kind in run.kinds if run.counts.get(kind)]
    if run.postponed:
        went.append(_("Sessões adiadas: {count}").format(count=number(run.postponed)))
    if run.error:
        went.append(_("Parou com um erro no meio"))
    return " · ".join(went) or _("Nada havia para limpar")


def _days_text(retention: timedelta) -> str:
    if retention.days == 0:
        return _("até vencer")
    return _("1 dia") if retention.days == 1 else _("{n} dias").format(n=retention.days)
