"""The fleet as staff see it: figures of the last day, incidents, one page of the table, rolling restarts."""

from collections.abc import Callable
from uuid import UUID

import pandas as pd
import streamlit as st

from services import settings
from services.db.actor import Actor
from services.fleet import commands, overview, rolling_restart
from services.fleet.incidents import Incident, IncidentsPage, State
from services.fleet.overview import PAGE_SIZE, FleetPage, FleetRow, Sample, SessionFilter, SortColumn, StatusCounts
from services.fleet.rolling_restart import RollingRestart
from services.fleet.session import Status
from services.wppconnect.phone import format_phone
from ui.components import confirm
from ui.kit import badges, dates, pagination
from ui.kit.i18n import _
from ui.shell import errors, navigation

# However many tabs look and however much happens, the figures are counted this often.
FIGURES_SECONDS = 2
INCIDENTS_SHOWN = 5


@st.cache_data(ttl=FIGURES_SECONDS, show_spinner=False)
def _load_figures(_actor: Actor) -> tuple[StatusCounts, list[Sample]]:
    """The same for all staff; whoever calls it is behind the page's guard."""
    return overview.get_counts(_actor), overview.list_samples(_actor)


def show_figures(actor: Actor) -> None:
    """How many sessions are in each state, now and over the last day."""
    now, day = _load_figures(actor)
    shown: list[tuple[str, Callable[[StatusCounts], int], str]] = [
        (_("Conectadas"), lambda one: one.connected, _("O servidor diz conectada.")),
        (_("Pareando"), lambda one: one.pairing, _("Esperando a leitura de um código.")),
        (_("Desligadas"), lambda one: one.disconnected, _("Nada está em execução.")),
        (_("Sem prova"), lambda one: one.unproven, _("Ditas conectadas, mas sem prova recente de vida.")),
        (_("Caladas"), lambda one: one.silent, _("Nada recebem num horário em que costumam receber.")),
    ]
    with st.container(horizontal=True):
        for word, of, what in shown:
            history = [of(one.figures) for one in day]
            st.metric(
                word, of(now), help=what, border=True, chart_data=history if len(history) > 1 else None, width=152
            )


def show_incidents(found: IncidentsPage) -> None:
    """What is wrong now, newest first."""
    if not found.total:
        st.success(_("**Nenhum problema em aberto.**"), icon=":material/check_circle:")
        return
    title = _("Problemas em aberto: {total}").format(total=found.total)
    with st.expander(title, icon=":material/warning:", expanded=True):
        for one in found.incidents[:INCIDENTS_SHOWN]:
            _show_incident(one)
        if found.total > INCIDENTS_SHOWN:
            st.caption(_("Veja todos com o filtro “Com problema”."))


def _show_incident(one: Incident) -> None:
    what, next_step = badges.incident_text(one.kind)
    with st.container(gap=None):
        if one.user_id is not None:
            navigation.link("session.py", one.email or _("Pessoa removida"), ":material/person:", user=str(one.user_id))
        elif number := settings.get().wppconnect.server_number(one.server_url):
            st.text(_("Servidor {number}").format(number=number))
        st.caption(f"**{what}** · {dates.ago(one.detected_at)} · {healing_word(one)}  \n{next_step}")


def healing_word(one: Incident) -> str:
    """How far the healing of a finding is."""
    words = {
        State.OPEN: _("em tratamento automático ({steps} tentativas)").format(steps=one.steps),
        State.NEEDS_PHONE: _("precisa do celular da pessoa"),
        State.NEEDS_PERSON: _("precisa de alguém da equipe"),
        State.HEALED: _("resolvido"),
        State.OVER: _("encerrado"),
    }
    return words[one.state]


def filter_word(show: SessionFilter | None) -> str:
    """A filter as people call it."""
    words = {
        None: _("Todos"),
        SessionFilter.CONNECTED: _("Conectado"),
        SessionFilter.PAIRING: _("Pareando"),
        SessionFilter.DISCONNECTED: _("Desconectado"),
        SessionFilter.UNPROVEN: _("Sem prova"),
        SessionFilter.TROUBLED: _("Com problema"),
    }
    return words[show]


def order_choices() -> dict[str, tuple[SortColumn, bool]]:
    """The orders on offer: words → column, and whether it descends."""
    return {
        _("Usuário"): ("email", False),
        _("Estado"): ("status", False),
        _("Prova mais antiga"): ("last_proof_at", False),
        _("Prova mais recente"): ("last_proof_at", True),
        _("Atividade mais recente"): ("last_activity", True),
    }


def server_word(number: int | None) -> str:
    """A server's name on the screen: its address stays in the processes."""
    return _("Servidor {number}").format(number=number) if number else _("Todos os servidores")


def short_server_word(number: int | None) -> str:
    """As `server_word`, where there is little room."""
    return server_word(number) if number else _("Todos")


def show_table(actor: Actor, found: FleetPage) -> None:
    """One page of rows; choosing one offers its actions."""
    if not found.rows:
        st.info(
            _("Nenhum usuário encontrado. Mude a busca ou o filtro, ou crie um usuário."), icon=":material/search_off:"
        )
        return
    event = st.dataframe(
        pd.DataFrame([_cells(row) for row in found.rows]),
        hide_index=True,
        width="stretch",
        on_select="rerun",
        selection_mode="single-row",
        # Other rows are another table: a redraw must never move the choice to somebody else.
        key=f"fleet_{hash(tuple(row.user_id for row in found.rows))}",
    )
    st.caption(_("Usuários: {total}").format(total=found.total))
    pagination.show_page_numbers("fleet", found.total, PAGE_SIZE)
    if chosen := event["selection"]["rows"]:
        if chosen[0] < len(found.rows):
            _session_actions(actor, found.rows[chosen[0]])
    else:
        st.caption(_("Escolha uma linha para abrir a sessão, conectar ou desconectar por alguém."))


def _cells(row: FleetRow) -> dict[str, str]:
    word = badges.session_word(row.status)
    if row.status is Status.CONNECTED:
        word += " · " + _("provado {when}").format(when=badges.proof_text(row.last_proof_at, row.last_proof_kind))
    return {
        _("Usuário"): row.email,
        _("Estado"): word,
        _("Problema"): badges.incident_text(row.incident)[0] if row.incident else "—",
        _("Servidor diz"): row.reported_state or "—",
        _("Servidor"): str(row.server or "—"),
        _("Número"): format_phone(row.phone_number) if row.phone_number else "—",
        _("Aparelho"): row.device_name or "—",
        _("Não lidas"): str(row.unread or "—"),
        _("Última atividade"): dates.ago(row.last_activity),
        _("Última falha"): row.failure or "—",
    }


def _session_actions(actor: Actor, row: FleetRow) -> None:
    with st.container(border=True):
        st.markdown(f"**{badges.session_word(row.status)}**")
        st.text(row.email)
        if row.failure:
            st.caption(badges.session_failure(row.failure))
        if row.status is Status.PAIRING:
            st.caption(_("O código aparece só na tela da própria pessoa."))
        with st.container(horizontal=True, vertical_alignment="center"):
            navigation.link("session.py", _("Abrir a sessão"), ":material/open_in_full:", user=str(row.user_id))
            navigation.link("diagnostics.py", _("Diagnosticar"), ":material/stethoscope:", user=str(row.user_id))
            navigation.link("conversations.py", _("Conversas"), ":material/forum:", pessoa=str(row.user_id))
            down = row.status in (None, Status.DISCONNECTED)
            if down and st.button(_("Conectar por esta pessoa"), icon=":material/link:", key="fleet_connect"):
                _connect(actor, row.user_id)
            if row.server_holds and st.button(_("Desconectar"), icon=":material/link_off:", key="fleet_disconnect"):
                confirm.disconnect_other(row.email, row.user_id, _disconnect)


def _connect(actor: Actor, user_id: UUID) -> None:
    with errors.shown(), st.spinner(_("Chamando o servidor do WhatsApp…")):
        commands.connect(actor, user_id)
        st.rerun(scope="fragment")


def _disconnect(actor: Actor, user_id: UUID) -> None:
    with errors.shown(), st.spinner(_("Encerrando no servidor…")):
        commands.disconnect(actor, user_id)
        st.rerun()


# --- restarts in waves ------------------------------------------------------------------------------------------------


def show_rolling_restart(actor: Actor, restart: RollingRestart | None, server: int | None) -> None:
    """The wave under way with its bar, or the button that begins one."""
    if restart is not None and restart.ended_at is None:
        _show_progress(actor, restart)
        return
    if (
        restart is not None
        and restart.ended_at is not None
        and dates.time_since(restart.ended_at).total_seconds() < 600
    ):
        st.caption(
            _("Último reinício em ondas: {done} de {total} voltaram, {failed} falharam.").format(
                done=restart.done, total=restart.total, failed=restart.failed
            )
        )
    if st.button(_("Reiniciar em ondas"), icon=":material/restart_alt:", key="rolling_restart_start"):
        confirm.start_rolling_restart(server_word(server), lambda someone: _start_restart(someone, server))


def _start_restart(actor: Actor, server: int | None) -> None:
    with errors.shown(), st.spinner(_("Preparando as ondas…")):
        rolling_restart.start(actor, list(settings.get().wppconnect.servers())[server - 1] if server else None)
        st.rerun()


def _show_progress(actor: Actor, restart: RollingRestart) -> None:
    with st.container(border=True):
        words = _("{done} de {total} reiniciadas · {under_way} em andamento · {failed} falharam").format(
            done=restart.done, total=restart.total, under_way=restart.under_way, failed=restart.failed
        )
        st.progress(restart.fraction, text=_("Em pausa · ") + words if restart.paused else words)
        with st.container(horizontal=True):
            label, icon = (_("Continuar"), "play_arrow") if restart.paused else (_("Pausar"), "pause")
            if st.button(label, icon=f":material/{icon}:", key="rolling_restart_pause"):
                with errors.shown():
                    rolling_restart.pause(actor, restart.id, on=not restart.paused)
                    st.rerun(scope="fragment")
            if st.button(_("Cancelar o restante"), icon=":material/cancel:", key="rolling_restart_cancel"):
                with errors.shown():
                    rolling_restart.cancel(actor, restart.id)
                    st.rerun(scope="fragment")
