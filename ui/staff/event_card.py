"""Actions on chosen events: open one, do a dry run, replay failed ones."""

import re
from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import streamlit as st

from services.db.actor import Actor
from services.inbound import event_dry_run, event_replay
from services.inbound.event_dry_run import DryRun, FieldChange
from services.inbound.event_log import Event, EventDetail, EventFilter, Verdict, get_event, get_events
from services.inbound.event_shape import Unreadable
from ui.components import confirm
from ui.kit import dates, flash, quantities
from ui.kit.i18n import _
from ui.shell import errors
from ui.staff import event_log

_DRY_RUNS = "events_dry_runs"
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
CHANGES_SHOWN = 3


def show_actions(actor: Actor, wanted: EventFilter, chosen: list[int], *, any_failed: bool) -> None:
    """What can be done with the events that are chosen; with none, all failed ones of `wanted` can be replayed."""
    if not chosen:
        _all_events(actor, wanted, any_failed)
    elif len(chosen) == 1:
        _single_event(actor, get_event(actor, chosen[0]))
    else:
        _chosen_events(actor, get_events(actor, chosen))


def _all_events(actor: Actor, wanted: EventFilter, any_failed: bool) -> None:
    st.caption(_("Escolha uma linha para abrir o evento, ou várias para ensaiá-las e reprocessá-las juntas."))
    if any_failed and st.button(_("Reprocessar todos os que falharam"), icon=":material/replay:", key="replay_all"):
        confirm.replay_many(event_replay.count_failed(actor, wanted), lambda actor: _replay_all(actor, wanted))


def _replay_all(actor: Actor, wanted: EventFilter) -> None:
    bar = st.progress(0.0)
    done = 0
    with errors.shown():
        for step in event_replay.replay_matching(actor, wanted):
            done = step.done
            told = _("{done} de {total}").format(done=done, total=step.total)
            bar.progress(min(done / step.total, 1.0) if step.total else 1.0, told)
        _show_requeued(done)


def _replay_events(actor: Actor, ids: Sequence[int]) -> None:
    with errors.shown():
        _show_requeued(event_replay.replay_events(actor, ids))


def _show_requeued(count: int) -> None:
    one, many = _("1 evento voltou para a fila."), _("{n} eventos voltaram para a fila.")
    flash.after_rerun(one if count == 1 else many.format(n=count), ":material/replay:")
    event_log.clear_choice()
    st.rerun()


# --- several ----------------------------------------------------------------------------------------------------------


def _chosen_events(actor: Actor, events: list[Event]) -> None:
    failed = [one.id for one in events if one.verdict is Verdict.FAILED]
    with st.container(border=True, key="events_chosen_card"):
        st.subheader(_("{n} eventos escolhidos").format(n=len(events)), anchor=False)
        with st.container(horizontal=True):
            _start_dry_run(actor, [one.id for one in events])
            if failed and st.button(
                _("Reprocessar os que falharam ({n})").format(n=len(failed)),
                type="primary",
                icon=":material/replay:",
                key="replay_some",
            ):
                confirm.replay_many(len(failed), lambda actor: _replay_events(actor, failed))
        if dry_runs := _last_dry_runs([one.id for one in events]):
            _dry_run_summary(dry_runs)


def _dry_run_summary(dry_runs: list[DryRun]) -> None:
    outcomes = [_dry_run_outcome(one) for one in dry_runs]
    counted = " · ".join(f"{word}: {outcomes.count(word)}" for word in dict.fromkeys(outcomes))
    st.info(
        _("**{counted}.** Cada evento foi ensaiado sozinho; nada foi mudado.").format(counted=counted),
        icon=":material/experiment:",
    )
    rows = [
        {_("Nº"): str(one.event_id), _("Resultado"): _dry_run_outcome(one), _("O que mudaria"): _changes_in_short(one)}
        for one in dry_runs
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")


def _dry_run_outcome(dry_run: DryRun) -> str:
    if dry_run.error:
        return _("Falharia de novo")
    return _("Mudaria algo") if dry_run.changes else _("Nada mudaria")


def _changes_in_short(dry_run: DryRun) -> str:
    if dry_run.error:
        return dry_run.error.splitlines()[-1]
    first = sorted(dry_run.changes, key=lambda one: one.field not in ("status", "state"))[:CHANGES_SHOWN]
    told = [f"{_change_place(one)}: {_value_word(one.before)} → {_value_word(one.after)}" for one in first]
    if len(dry_run.changes) > CHANGES_SHOWN:
        told.append(_("e mais {n}").format(n=len(dry_run.changes) - CHANGES_SHOWN))
    return " · ".join(told) or "—"


# --- one --------------------------------------------------------------------------------------------------------------


def _single_event(actor: Actor, detail: EventDetail) -> None:
    event = detail.event
    with st.container(border=True, key="event_detail"):
        st.subheader(_("Evento {id}").format(id=event.id), anchor=False)
        st.text(event.email or event.session or _("Sessão não provada"))
        if event.error:
            st.caption(_("Onde falhou"))
            st.code(event.error, language=None)
        if detail.unreadable is not None:
            st.info(_unreadable_sentence(detail.unreadable), icon=":material/help:")
        with st.container(horizontal=True):
            _start_dry_run(actor, [event.id])
            if event.verdict is Verdict.FAILED and st.button(
                _("Reprocessar"), type="primary", icon=":material/replay:", key="replay_one"
            ):
                _replay_events(actor, [event.id])
        if dry_runs := _last_dry_runs([event.id]):
            _dry_run_result(dry_runs[0])
        _event_facts(detail)
        _event_shape(detail)


def _unreadable_sentence(why: Unreadable) -> str:
    sentences = {
        Unreadable.EMPTY: _("O corpo veio vazio."),
        Unreadable.NO_OBJECT: _("O corpo é JSON, mas não é um objeto com campos."),
        Unreadable.PACKED: _(
            "O corpo veio compactado (gzip), mas cortado ou sem o cabeçalho Content-Encoding que diz isso."
        ),
        Unreadable.NO_UTF8: _(
            "O corpo não é texto em UTF-8: veio em outra codificação ou compactado de um modo que não lemos."
            " Lemos gzip, deflate e, quando o cabeçalho diz charset, Latin-1, Windows-1252 e UTF-16."
        ),
        Unreadable.REFUSED: _("O banco de dados não aceita o corpo como texto; foi guardado em base64."),
        Unreadable.NO_JSON: _("O corpo não é JSON, ou veio cortado."),
    }
    return sentences[why]


def _start_dry_run(actor: Actor, ids: list[int]) -> None:
    wanted = st.button(
        _("Ensaiar"), icon=":material/experiment:", key="dry_run", help=_("Mostra o que mudaria, sem mudar nada.")
    )
    if wanted:
        with errors.shown(), st.spinner(_("Ensaiando…")):
            st.session_state[_DRY_RUNS] = (ids, event_dry_run.request_dry_runs(actor, ids))


def _last_dry_runs(ids: list[int]) -> list[DryRun]:
    """What the last rehearsal found, if it was of these."""
    of, dry_runs = st.session_state.get(_DRY_RUNS, ([], []))
    return list(dry_runs) if of == ids else []


def _dry_run_result(dry_run: DryRun) -> None:
    if dry_run.error:
        st.warning(_("**Falharia de novo.** Nada mudaria."), icon=":material/error:")
        st.code(dry_run.error, language=None)
    elif not dry_run.changes:
        st.info(
            _("**Nada mudaria.** O estado já está à frente deste evento ou não depende dele."), icon=":material/check:"
        )
    else:
        st.success(_("**Mudaria isto** (nada foi mudado ainda):"), icon=":material/experiment:")
        _show_table(
            [
                {_("Campo"): _change_place(one), _("De"): _value_word(one.before), _("Para"): _value_word(one.after)}
                for one in dry_run.changes
            ]
        )


def _event_facts(detail: EventDetail) -> None:
    event = detail.event
    facts = {
        _("Chegou"): dates.full_time(event.received_at),
        _("Resultado"): event_log.verdict_word(event.verdict),
        _("Processado"): dates.full_time(event.handled_at) if event.handled_at else "—",
        _("Tentativas"): str(event.attempts),
        _("Tipo"): event.kind,
        _("Tamanho"): quantities.size(event.size),
        _("Endereço"): _("da conexão atual") if detail.current_secret else _("de uma conexão anterior"),
        _("Código"): detail.request_id[:8],
    }
    _show_table([{"name": name, "value": value} for name, value in facts.items()], header=False)


def _event_shape(detail: EventDetail) -> None:
    with st.expander(_("Forma do corpo"), icon=":material/data_object:"):
        if not detail.shape:
            st.caption(_("O corpo não é um objeto JSON, ou é um arquivo grande demais para ser lido aqui."))
            return
        st.caption(_("Só chaves e tipos: o conteúdo é da pessoa e não aparece aqui."))
        _show_table([{_("Chave"): one.path, _("Tipo"): one.type, _("Valor"): one.value} for one in detail.shape])


def _show_table(rows: list[dict[str, str]], *, header: bool = True) -> None:
    """A table's cells are Markdown; what came from outside is to be read as it stands."""
    plain = [{name: _PUNCTUATION.sub(r"\\\1", value) for name, value in row.items()} for row in rows]
    st.table(pd.DataFrame(plain), border="horizontal", hide_index=True, hide_header=not header)


def _change_place(change: FieldChange) -> str:
    place = {"session": _("sessão"), "message": _("mensagem"), "pending_ack": _("confirmação guardada")}
    return f"{place.get(change.where, change.where)}: {_field_word(change.field)}"


def _field_word(name: str) -> str:
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


def _value_word(value: str | None) -> str:
    if value is None:
        return "—"
    try:
        return dates.full_time(datetime.fromisoformat(value)) if len(value) > 18 else value
    except ValueError:
        return value
