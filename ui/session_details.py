"""One session as staff see it: its state beside its proof, what can be done with it, and its history."""

from collections.abc import Callable
from uuid import UUID

import pandas as pd
import streamlit as st

from services import sessions, settings
from services.db.actor import Actor
from services.findings import FindingsPage
from services.findings import Kind as FindingKind
from services.fleet import FleetRow
from services.replay import Verdict
from services.sessions import Session, Status
from services.timeline import PAGE_SIZE, Delivery, Entry, Kind, TimelinePage
from services.wppconnect.phone import display
from ui import brake, broken_glass, confirm, errors, event_log, fleet, navigation, status, times
from ui.text import _

_PAGE = "timeline_page"


def page_number() -> int:
    """The page of the timeline that is looked at, counted from 1."""
    return int(st.session_state.get(_PAGE, 1))


def nobody() -> None:
    """The address names a person who is not there."""
    st.warning(_("**Esta pessoa não existe mais.** Volte à lista de sessões."), icon=":material/person_off:")
    navigation.link("sessions.py", _("Ver as sessões"), ":material/devices:")


def head(row: FleetRow) -> None:
    """Who it is, and what the server says beside what was proved."""
    st.title(_("Sessão"), anchor=False)
    st.text(row.email)
    if row.finding:
        what, next_step = status.finding(row.finding)
        st.warning(f"**{what}.** {next_step}", icon=":material/warning:")
    elif row.failure:
        st.warning(status.session_failure(row.failure), icon=":material/info:")
    facts = [
        (_("Estado"), status.session_word(row.status)),
        (_("Provado"), status.proof(row.last_proof_at, row.last_proof_kind)),
        (_("Servidor diz"), row.reported_state or "—"),
    ]
    for column, (word, value) in zip(st.columns(3), facts, strict=True):
        with column.container(border=True, gap=None, height="stretch"):
            st.caption(word)
            st.text(value)
    beside = [
        _("Número: {value}").format(value=display(row.phone_number) if row.phone_number else "—"),
        _("Servidor: {value}").format(value=row.server or _("não configurado")),
        _("Última atividade: {value}").format(value=times.ago(row.last_activity)),
    ]
    st.caption(" · ".join(beside))
    if row.device_name:
        st.text(_("Aparelho: {value}").format(value=row.device_name))


def actions(actor: Actor, row: FleetRow) -> None:
    """What staff can do from here. A QR appears on its owner's screen only."""
    with st.container():
        if row.status is Status.PAIRING:
            st.caption(_("O código aparece só na tela da própria pessoa."))
            broken_glass.code(actor, row.user_id)
    with st.container(horizontal=True, vertical_alignment="center"):
        if row.status in (None, Status.DISCONNECTED):
            if st.button(_("Conectar"), type="primary", icon=":material/link:", key="session_connect"):
                _act(sessions.connect, actor, row.user_id)
        else:
            if st.button(_("Reiniciar"), icon=":material/restart_alt:", key="session_restart"):
                confirm.restart(row.email, row.user_id, _restart)
            if st.button(_("Fechar"), icon=":material/stop_circle:", key="session_close"):
                confirm.close(row.email, row.user_id, _close)
        if row.server_holds and st.button(_("Desconectar"), icon=":material/link_off:", key="session_disconnect"):
            confirm.disconnect_other(row.email, row.user_id, _disconnect)
        if row.status is not None:
            brake.switch(actor, row.user_id)
            navigation.link("diagnostics.py", _("Diagnosticar"), ":material/stethoscope:", user=str(row.user_id))
            _moving(row)


def _moving(row: FleetRow) -> None:
    numbers = [one for one in range(1, len(settings.get().servers()) + 1) if one != row.server]
    if not numbers:
        return
    with st.popover(_("Mover"), icon=":material/move_up:"):
        chosen = st.selectbox(_("Para qual servidor?"), numbers, format_func=fleet.server_word, key="move_to")
        if st.button(_("Mover a sessão"), key="session_move"):
            confirm.move(row.email, fleet.server_word(chosen), lambda someone: _move(someone, row.user_id, chosen))


def _move(actor: Actor, user_id: UUID, number: int) -> None:
    with errors.shown(), st.spinner(_("Movendo a sessão…")):
        sessions.move(actor, list(settings.get().servers())[number - 1], user_id)
        st.rerun()


def _restart(actor: Actor, user_id: UUID) -> None:
    _act(sessions.reconnect, actor, user_id)


def _close(actor: Actor, user_id: UUID) -> None:
    _act(sessions.close, actor, user_id)


def _disconnect(actor: Actor, user_id: UUID) -> None:
    _act(sessions.disconnect, actor, user_id)


def _act(act: Callable[[Actor, UUID], Session], actor: Actor, user_id: UUID) -> None:
    with errors.shown(), st.spinner(_("Chamando o servidor do WhatsApp…")):
        act(actor, user_id)
        st.rerun()


# --- history ----------------------------------------------------------------------------------------------------------


def story(page: TimelinePage) -> None:
    """What became of it and what was done to it, newest first."""
    if not page.entries:
        st.caption(_("Nada aconteceu ainda. Cada mudança de estado e cada ação aparecem aqui."))
        return
    for entry in page.entries:
        _moment(entry)
    pages = -(-page.total // PAGE_SIZE)
    if pages > 1:
        st.pagination(pages, key=_PAGE)


def _moment(entry: Entry) -> None:
    icons = {Kind.STATE: "radio_button_checked", Kind.STAFF: "person", Kind.HEALTH: "healing"}
    with st.container(gap=None):
        st.markdown(f":material/{icons[entry.kind]}: {_what(entry)}")
        st.caption(" · ".join([times.clock(entry.at), *([_("falhou")] if entry.outcome == "failed" else [])]))
        if entry.by:
            st.text(entry.by)


def _what(entry: Entry) -> str:
    if entry.kind is Kind.STATE:
        return _state(entry)
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
    return f"{heads.get(verb, verb)}: {status.finding(FindingKind(kind))[0]}" if verb in heads else entry.what


def _state(entry: Entry) -> str:
    if entry.what == "scanned":
        return _("O código foi lido")
    if entry.what == "moved":
        return _("Passou para outro servidor")
    word = f"**{status.session_word(Status(entry.what))}**"
    failure = entry.detail.get("failure")
    return f"{word}: {status.session_failure(failure)}" if failure else word


def deliveries(found: list[Delivery]) -> None:
    """The newest webhook deliveries, without their contents."""
    if not found:
        st.caption(_("Nenhum evento recebido desta sessão."))
        return
    rows = [
        {
            _("Quando"): times.clock(one.received_at),
            _("Tipo"): one.kind,
            _("Resultado"): event_log.verdict_word(Verdict(one.verdict)),
        }
        for one in found
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")


def health(page: FindingsPage) -> None:
    """Every problem that it had, newest first."""
    if not page.findings:
        st.caption(_("Nenhum problema registrado."))
        return
    for one in page.findings:
        with st.container(gap=None):
            st.markdown(f"**{status.finding(one.kind)[0]}**")
            until = f" → {times.clock(one.ended_at)}" if one.ended_at else ""
            st.caption(f"{times.clock(one.found_at)}{until} · {fleet.state(one)}")
