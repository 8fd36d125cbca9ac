"""One session as staff see it: its state beside its proof, what can be done with it, and its history."""

from collections.abc import Callable
from uuid import UUID

import pandas as pd
import streamlit as st

from services import settings
from services.db.actor import Actor
from services.fleet import commands
from services.fleet.incidents import IncidentsPage
from services.fleet.incidents import Kind as IncidentKind
from services.fleet.overview import FleetRow
from services.fleet.own_number import NumberChange
from services.fleet.session import Session, Status
from services.fleet.timeline import PAGE_SIZE, Delivery, Entry, Kind, TimelinePage
from services.inbound.event_log import Verdict
from services.wppconnect.phone import format_phone
from ui.components import break_glass, confirm, kill_switch
from ui.kit import badges, dates, pagination
from ui.kit.i18n import _
from ui.shell import errors, navigation
from ui.staff import event_log, fleet


def show_head(row: FleetRow, change: NumberChange | None) -> None:
    """Who it is; what the server says beside what was proved. `change`: another number, still undecided."""
    st.title(_("Sessão"), anchor=False)
    st.text(row.email)
    if row.incident:
        what, next_step = badges.incident_text(row.incident)
        st.warning(f"**{what}.** {next_step}", icon=":material/warning:")
    elif row.failure:
        st.warning(badges.session_failure(row.failure), icon=":material/info:")
    if change is not None:
        words = _("**Outro número foi pareado** ({ago}). O que era de {phone} espera a decisão da própria pessoa.")
        st.warning(
            words.format(ago=dates.ago(change.since), phone=format_phone(change.earlier)),
            icon=":material/phonelink_ring:",
        )
    facts = [
        (_("Estado"), badges.session_word(row.status)),
        (_("Provado"), badges.proof_text(row.last_proof_at, row.last_proof_kind)),
        (_("Servidor diz"), row.reported_state or "—"),
    ]
    for column, (word, value) in zip(st.columns(3), facts, strict=True):
        with column.container(border=True, gap=None, height="stretch"):
            st.caption(word)
            st.text(value)
    beside = [
        _("Número: {value}").format(value=format_phone(row.phone_number) if row.phone_number else "—"),
        _("Servidor: {value}").format(value=row.server or _("não configurado")),
        _("Última atividade: {value}").format(value=dates.ago(row.last_activity)),
    ]
    st.caption(" · ".join(beside))
    if row.device_name:
        st.text(_("Aparelho: {value}").format(value=row.device_name))


def show_actions(actor: Actor, row: FleetRow) -> None:
    """What staff can do from here. A QR appears on its owner's screen only."""
    with st.container():
        if row.status is Status.PAIRING:
            st.caption(_("O código aparece só na tela da própria pessoa."))
            break_glass.show_code(actor, row.user_id)
    with st.container(horizontal=True, vertical_alignment="center"):
        if row.status in (None, Status.DISCONNECTED):
            if st.button(_("Conectar"), type="primary", icon=":material/link:", key="session_connect"):
                _act_and_redraw(commands.connect, actor, row.user_id)
        else:
            if st.button(_("Reiniciar"), icon=":material/restart_alt:", key="session_restart"):
                confirm.restart_session(row.email, row.user_id, _restart_session)
            if st.button(_("Fechar"), icon=":material/stop_circle:", key="session_close"):
                confirm.close_session(row.email, row.user_id, _close_session)
        if row.server_holds and st.button(_("Desconectar"), icon=":material/link_off:", key="session_disconnect"):
            confirm.disconnect_other(row.email, row.user_id, _disconnect)
        if row.status is not None:
            kill_switch.switch(actor, row.user_id)
            navigation.link("diagnostics.py", _("Diagnosticar"), ":material/stethoscope:", user=str(row.user_id))
            _move_form(row)


def _move_form(row: FleetRow) -> None:
    numbers = [one for one in range(1, len(settings.get().wppconnect.servers()) + 1) if one != row.server]
    if not numbers:
        return
    with st.popover(_("Mover"), icon=":material/move_up:"):
        chosen = st.selectbox(_("Para qual servidor?"), numbers, format_func=fleet.server_word, key="move_to")
        if st.button(_("Mover a sessão"), key="session_move"):
            confirm.move_session(
                row.email, fleet.server_word(chosen), lambda someone: _move_session(someone, row.user_id, chosen)
            )


def _move_session(actor: Actor, user_id: UUID, number: int) -> None:
    with errors.shown(), st.spinner(_("Movendo a sessão…")):
        commands.move_to_server(actor, list(settings.get().wppconnect.servers())[number - 1], user_id)
        st.rerun()


def _restart_session(actor: Actor, user_id: UUID) -> None:
    _act_and_redraw(commands.reconnect, actor, user_id)


def _close_session(actor: Actor, user_id: UUID) -> None:
    _act_and_redraw(commands.close, actor, user_id)


def _disconnect(actor: Actor, user_id: UUID) -> None:
    _act_and_redraw(commands.disconnect, actor, user_id)


def _act_and_redraw(act: Callable[[Actor, UUID], Session], actor: Actor, user_id: UUID) -> None:
    with errors.shown(), st.spinner(_("Chamando o servidor do WhatsApp…")):
        act(actor, user_id)
        st.rerun()


# --- history ----------------------------------------------------------------------------------------------------------


def show_timeline(page: TimelinePage) -> None:
    """What became of it and what was done to it, newest first."""
    if not page.entries:
        st.caption(_("Nada aconteceu ainda. Cada mudança de estado e cada ação aparecem aqui."))
        return
    for entry in page.entries:
        _show_entry(entry)
    pagination.show_page_numbers("timeline", page.total, PAGE_SIZE)


def _show_entry(entry: Entry) -> None:
    icons = {Kind.STATE: "radio_button_checked", Kind.STAFF: "person", Kind.HEALTH: "healing"}
    with st.container(gap=None):
        st.markdown(f":material/{icons[entry.kind]}: {_entry_text(entry)}")
        st.caption(" · ".join([dates.short_time(entry.at), *([_("falhou")] if entry.outcome == "failed" else [])]))
        if entry.by:
            st.text(entry.by)


def _entry_text(entry: Entry) -> str:
    if entry.kind is Kind.STATE:
        return _state_change_text(entry)
    words = {
        "session.connect": _("A equipe pediu a conexão"),
        "session.disconnect": _("A equipe desconectou"),
        "session.close": _("A equipe fechou a sessão"),
        "session.restart": _("A equipe reiniciou a sessão"),
        "session.move": _("A equipe moveu a sessão para outro servidor"),
        "sending.stop": _("A equipe parou os envios"),
        "sending.go_on": _("A equipe liberou os envios"),
        "step.ask": _("Perguntou de novo ao WhatsApp"),
        "step.start": _("Ligou a sessão"),
        "step.restart": _("Reiniciou a sessão"),
        "step.wave": _("Reiniciou a sessão numa onda"),
    }
    if entry.what in words:
        return words[entry.what]
    verb, _dot, kind = entry.what.partition(".")
    heads = {
        "found": _("Problema encontrado"),
        "healed": _("Problema resolvido"),
        "needs_phone": _("Só o celular resolve"),
        "needs_person": _("Precisa de alguém da equipe"),
    }
    return f"{heads.get(verb, verb)}: {badges.incident_text(IncidentKind(kind))[0]}" if verb in heads else entry.what


def _state_change_text(entry: Entry) -> str:
    if entry.what == "scanned":
        return _("O código foi lido")
    if entry.what == "number_changed":
        earlier, now = (format_phone(str(entry.detail.get(end, ""))) for end in ("from", "to"))
        return _("**Outro número foi pareado**: antes {earlier}, agora {now}").format(earlier=earlier, now=now)
    if entry.what == "moved":
        return _("Passou para outro servidor")
    word = f"**{badges.session_word(Status(entry.what))}**"
    failure = entry.detail.get("failure")
    return f"{word}: {badges.session_failure(failure)}" if failure else word


def show_deliveries(found: list[Delivery]) -> None:
    """The newest webhook deliveries, without their contents."""
    if not found:
        st.caption(_("Nenhum evento recebido desta sessão."))
        return
    rows = [
        {
            _("Quando"): dates.short_time(one.received_at),
            _("Tipo"): one.kind,
            _("Resultado"): event_log.verdict_word(Verdict(one.verdict)),
        }
        for one in found
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")


def show_incidents(page: IncidentsPage) -> None:
    """Every problem that it had, newest first."""
    if not page.incidents:
        st.caption(_("Nenhum problema registrado."))
        return
    for one in page.incidents:
        with st.container(gap=None):
            st.markdown(f"**{badges.incident_text(one.kind)[0]}**")
            until = f" → {dates.short_time(one.ended_at)}" if one.ended_at else ""
            st.caption(f"{dates.short_time(one.detected_at)}{until} · {fleet.healing_word(one)}")
