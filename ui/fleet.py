"""The fleet as staff see it: figures, one page of the table, and what can be done with a chosen session."""

from uuid import UUID

import pandas as pd
import streamlit as st

from services import sessions
from services.db.actor import Actor
from services.sessions import PAGE_SIZE, FleetPage, FleetRow, Status
from services.wppconnect.phone import display
from ui import confirm, errors, navigation, status, times
from ui.text import _

_PAGE = "fleet_page"


def figures(counts: dict[Status, int]) -> None:
    """How many sessions are in each state."""
    for column, one in zip(st.columns(3), (Status.CONNECTED, Status.PAIRING, Status.DISCONNECTED), strict=True):
        column.metric(status.session_word(one), counts[one], border=True)


def page_number() -> int:
    """The page that is looked at, counted from 1."""
    return int(st.session_state.get(_PAGE, 1))


def table(actor: Actor, found: FleetPage) -> None:
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
        key="fleet_table",
    )
    pages = -(-found.total // PAGE_SIZE)
    st.caption(_("{total} usuários").format(total=found.total))
    if pages > 1:
        st.pagination(pages, key=_PAGE)
    if chosen := event["selection"]["rows"]:
        _actions(actor, found.rows[chosen[0]])
    else:
        st.caption(_("Escolha uma linha para conectar ou desconectar por alguém."))


def _cells(row: FleetRow) -> dict[str, str]:
    proof = times.ago(row.last_proof_at)
    if row.last_proof_at is not None:
        proof += " · " + status.proof_phrase(row.last_proof_kind)
    return {
        _("Usuário"): row.email,
        _("Estado"): status.session_word(row.status),
        _("Provado"): proof,
        _("Servidor diz"): row.reported_state or "—",
        _("Número"): display(row.phone_number) if row.phone_number else "—",
        _("Última atividade"): times.ago(row.last_activity),
        _("Última falha"): row.failure or "—",
    }


def _actions(actor: Actor, row: FleetRow) -> None:
    with st.container(border=True):
        st.markdown(f"**{status.session_word(row.status)}**")
        st.text(row.email)
        if row.failure:
            st.caption(status.session_failure(row.failure))
        if row.status is Status.PAIRING:
            st.caption(_("O código aparece só na tela da própria pessoa."))
        navigation.link("diagnostics.py", _("Diagnosticar"), ":material/stethoscope:", user=str(row.user_id))
        if row.status in (None, Status.DISCONNECTED):
            if st.button(_("Conectar por esta pessoa"), icon=":material/link:", key="fleet_connect"):
                _connect(actor, row.user_id)
        elif st.button(_("Desconectar"), icon=":material/link_off:", key="fleet_disconnect"):
            confirm.disconnect_other(row.email, row.user_id, _disconnect)


def _connect(actor: Actor, user_id: UUID) -> None:
    with errors.shown(), st.spinner(_("Chamando o servidor do WhatsApp…")):
        sessions.connect(actor, user_id)
        st.rerun(scope="fragment")


def _disconnect(actor: Actor, user_id: UUID) -> None:
    with errors.shown(), st.spinner(_("Encerrando no servidor…")):
        sessions.disconnect(actor, user_id)
        st.rerun()
