"""What can be done with chosen events: open one, see what it would change, send failed ones round again."""

import re
from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import streamlit as st

from services import replay
from services.db.actor import Actor
from services.replay import Change, Detail, Event, Filter, Trial, Verdict
from ui import confirm, errors, event_log, times, toasts
from ui.text import _

_TRIALS = "events_trials"
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
CHANGES_TOLD = 3


def actions(actor: Actor, wanted: Filter, chosen: list[int], *, any_failed: bool) -> None:
    """What can be done with the events that are chosen; with none, all failed ones of `wanted` can be replayed."""
    if not chosen:
        _all(actor, wanted, any_failed)
    elif len(chosen) == 1:
        _one(actor, replay.detail(actor, chosen[0]))
    else:
        _several(actor, replay.these(actor, chosen))


def _all(actor: Actor, wanted: Filter, any_failed: bool) -> None:
    st.caption(_("Escolha uma linha para abrir o evento, ou várias para ensaiá-las e reprocessá-las juntas."))
    if any_failed and st.button(_("Reprocessar todos os que falharam"), icon=":material/replay:", key="replay_all"):
        confirm.replay_many(replay.count_failed(actor, wanted), lambda actor: _replay_all(actor, wanted))


def _replay_all(actor: Actor, wanted: Filter) -> None:
    bar = st.progress(0.0)
    done = 0
    with errors.shown():
        for step in replay.replay_matching(actor, wanted):
            done = step.done
            told = _("{done} de {total}").format(done=done, total=step.total)
            bar.progress(min(done / step.total, 1.0) if step.total else 1.0, told)
        _back_in_line(done)


def _replay(actor: Actor, ids: Sequence[int]) -> None:
    with errors.shown():
        _back_in_line(replay.replay(actor, ids))


def _back_in_line(count: int) -> None:
    one, many = _("1 evento voltou para a fila."), _("{n} eventos voltaram para a fila.")
    toasts.after_rerun(one if count == 1 else many.format(n=count), ":material/replay:")
    event_log.let_go()
    st.rerun()


# --- several ----------------------------------------------------------------------------------------------------------


def _several(actor: Actor, events: list[Event]) -> None:
    failed = [one.id for one in events if one.verdict is Verdict.FAILED]
    with st.container(border=True, key="events_chosen_card"):
        st.subheader(_("{n} eventos escolhidos").format(n=len(events)), anchor=False)
        with st.container(horizontal=True):
            _rehearse(actor, [one.id for one in events])
            if failed and st.button(
                _("Reprocessar os que falharam ({n})").format(n=len(failed)),
                type="primary",
                icon=":material/replay:",
                key="replay_some",
            ):
                confirm.replay_many(len(failed), lambda actor: _replay(actor, failed))
        if trials := _rehearsed([one.id for one in events]):
            _summary(trials)


def _summary(trials: list[Trial]) -> None:
    outcomes = [_outcome(one) for one in trials]
    counted = " · ".join(f"{word}: {outcomes.count(word)}" for word in dict.fromkeys(outcomes))
    st.info(
        _("**{counted}.** Cada evento foi ensaiado sozinho; nada foi mudado.").format(counted=counted),
        icon=":material/experiment:",
    )
    rows = [
        {_("Nº"): str(one.event_id), _("Resultado"): _outcome(one), _("O que mudaria"): _in_short(one)}
        for one in trials
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")


def _outcome(trial: Trial) -> str:
    if trial.error:
        return _("Falharia de novo")
    return _("Mudaria algo") if trial.changes else _("Nada mudaria")


def _in_short(trial: Trial) -> str:
    if trial.error:
        return trial.error.splitlines()[-1]
    first = sorted(trial.changes, key=lambda one: one.field not in ("status", "state"))[:CHANGES_TOLD]
    told = [f"{_place(one)}: {_value(one.before)} → {_value(one.after)}" for one in first]
    if len(trial.changes) > CHANGES_TOLD:
        told.append(_("e mais {n}").format(n=len(trial.changes) - CHANGES_TOLD))
    return " · ".join(told) or "—"


# --- one --------------------------------------------------------------------------------------------------------------


def _one(actor: Actor, detail: Detail) -> None:
    event = detail.event
    with st.container(border=True, key="event_detail"):
        st.subheader(_("Evento {id}").format(id=event.id), anchor=False)
        st.text(event.email or event.session or _("Sessão não provada"))
        if event.error:
            st.caption(_("Onde falhou"))
            st.code(event.error, language=None)
        with st.container(horizontal=True):
            _rehearse(actor, [event.id])
            if event.verdict is Verdict.FAILED and st.button(
                _("Reprocessar"), type="primary", icon=":material/replay:", key="replay_one"
            ):
                _replay(actor, [event.id])
        if trials := _rehearsed([event.id]):
            _trial(trials[0])
        _facts(detail)
        _shape(detail)


def _rehearse(actor: Actor, ids: list[int]) -> None:
    wanted = st.button(
        _("Ensaiar"), icon=":material/experiment:", key="dry_run", help=_("Mostra o que mudaria, sem mudar nada.")
    )
    if wanted:
        with errors.shown(), st.spinner(_("Ensaiando…")):
            st.session_state[_TRIALS] = (ids, replay.dry_run(actor, ids))


def _rehearsed(ids: list[int]) -> list[Trial]:
    """What the last rehearsal found, if it was of these."""
    of, trials = st.session_state.get(_TRIALS, ([], []))
    return list(trials) if of == ids else []


def _trial(trial: Trial) -> None:
    if trial.error:
        st.warning(_("**Falharia de novo.** Nada mudaria."), icon=":material/error:")
        st.code(trial.error, language=None)
    elif not trial.changes:
        st.info(
            _("**Nada mudaria.** O estado já está à frente deste evento ou não depende dele."), icon=":material/check:"
        )
    else:
        st.success(_("**Mudaria isto** (nada foi mudado ainda):"), icon=":material/experiment:")
        _table(
            [
                {_("Campo"): _place(one), _("De"): _value(one.before), _("Para"): _value(one.after)}
                for one in trial.changes
            ]
        )


def _facts(detail: Detail) -> None:
    event = detail.event
    facts = {
        _("Chegou"): times.in_full(event.received_at),
        _("Resultado"): event_log.verdict_word(event.verdict),
        _("Processado"): times.in_full(event.handled_at) if event.handled_at else "—",
        _("Tentativas"): str(event.attempts),
        _("Tipo"): event.kind,
        _("Tamanho"): event_log.size(event.size),
        _("Endereço"): _("da conexão atual") if detail.current_secret else _("de uma conexão anterior"),
        _("Código"): detail.request_id[:8],
    }
    _table([{"name": name, "value": value} for name, value in facts.items()], header=False)


def _shape(detail: Detail) -> None:
    with st.expander(_("Forma do corpo"), icon=":material/data_object:"):
        if not detail.shape:
            st.caption(_("O corpo não é um objeto JSON, ou é um arquivo grande demais para ser lido aqui."))
            return
        st.caption(_("Só chaves e tipos: o conteúdo é da pessoa e não aparece aqui."))
        _table([{_("Chave"): one.path, _("Tipo"): one.type, _("Valor"): one.value} for one in detail.shape])


def _table(rows: list[dict[str, str]], *, header: bool = True) -> None:
    """A table's cells are Markdown; what came from outside is to be read as it stands."""
    plain = [{name: _PUNCTUATION.sub(r"\\\1", value) for name, value in row.items()} for row in rows]
    st.table(pd.DataFrame(plain), border="horizontal", hide_index=True, hide_header=not header)


def _place(change: Change) -> str:
    place = {"session": _("sessão"), "message": _("mensagem"), "parked_ack": _("confirmação guardada")}
    return f"{place.get(change.where, change.where)}: {_field(change.field)}"


def _field(name: str) -> str:
    names = {
        "status": _("estado"),
        "state": _("estado"),
        "qr_urlcode": _("código QR"),
        "qr_code": _("imagem do QR"),
        "qr_received_at": _("quando o QR chegou"),
        "qr_expires_at": _("até quando o QR vale"),
        "qr_count": _("quantos QR já vieram"),
        "scanned_at": _("quando o QR foi lido"),
        "phone_code": _("código no celular"),
        "phone_code_at": _("quando o código veio"),
        "reported_state": _("o que o servidor diz"),
        "reported_at": _("quando o servidor disse"),
        "last_proof_at": _("última prova"),
        "last_proof_kind": _("tipo da prova"),
        "last_activity": _("última atividade"),
        "connected_at": _("conectado desde"),
        "check_at": _("próxima consulta"),
        "failure": _("falha"),
        "webhook_secret_used_at": _("endereço novo usado"),
        "ack": _("confirmação"),
        "sent_at": _("enviada em"),
        "delivered_at": _("entregue em"),
        "read_at": _("lida em"),
    }
    return names.get(name, name)


def _value(value: str | None) -> str:
    if value is None:
        return "—"
    try:
        return times.in_full(datetime.fromisoformat(value)) if len(value) > 18 else value
    except ValueError:
        return value
