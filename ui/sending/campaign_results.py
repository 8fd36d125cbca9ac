"""The result of a campaign by recipient, page by page and as a file."""

from functools import partial
from uuid import UUID

import pandas as pd
import streamlit as st

from services.db.actor import Actor
from services.outreach import campaign_progress
from services.outreach.campaign_progress import RecipientResult, ResultFilter
from services.outreach.campaign_state import Campaign
from services.platform import csv_export, documents
from services.wppconnect.phone import format_phone
from ui.kit import badges, dates
from ui.kit.i18n import _
from ui.sending.campaigns import RESULT_PAGES


def show_results(actor: Actor, one: Campaign) -> None:
    """What became of each recipient, a page at a time, and all of it as a file."""
    words: dict[ResultFilter, str] = {
        "waiting": _("Aguardando"),
        "under_way": _("A caminho"),
        "arrived": _("Enviadas"),
        "wrong": _("Com problema"),
        "left_out": _("Fora"),
    }
    which = st.segmented_control(
        _("Mostrar"), list(words), format_func=words.__getitem__, key="campaign_show", on_change=_reset_page
    )
    starts: list[int] = st.session_state.setdefault(RESULT_PAGES, [0])
    found = campaign_progress.list_results(actor, one.id, starts[-1], show=which)
    if not found:
        st.caption(_("Ninguém aqui."))
    else:
        st.dataframe(pd.DataFrame([_result_row(item) for item in found]), hide_index=True, width="stretch")
    with st.container(horizontal=True):
        if len(starts) > 1 and st.button(_("Anteriores"), icon=":material/chevron_left:", key="result_before"):
            starts.pop()
            st.rerun(scope="fragment")
        if len(found) == campaign_progress.PAGE_SIZE and st.button(
            _("Próximos"), icon=":material/chevron_right:", key="result_after"
        ):
            starts.append(found[-1].seq)
            st.rerun(scope="fragment")
    _show_downloads(actor, one)


def _reset_page() -> None:
    st.session_state[RESULT_PAGES] = [0]


def _result_row(one: RecipientResult) -> dict[str, str | int]:
    """The table can be downloaded: no cell of it may be a formula."""
    moment = one.read_at or one.delivered_at or one.sent_at or one.released_at
    return {
        _("Nº"): one.seq,
        _("Telefone"): format_phone(one.phone),
        _("Nome"): csv_export.escape_formula(one.name or ""),
        _("Situação"): _(campaign_progress.result_label(one)),
        _("Detalhe"): badges.wait_sentence(one.waiting) if one.waiting else _(campaign_progress.result_detail(one)),
        _("Quando"): dates.to_the_second(moment) if moment else "",
    }


def _show_downloads(actor: Actor, one: Campaign) -> None:
    """Made when asked for: the result of ten thousand is no work for each redraw."""
    with st.container(horizontal=True):
        for form in ("csv", "xlsx"):
            name = f"campanha-{one.created_at:%Y%m%d-%H%M}.{form}"
            st.download_button(
                _("Baixar {form}").format(form=form.upper()),
                partial(_make_file, actor, one.id, form, dates.zone_name()),
                name,
                icon=":material/download:",
                key=f"result_{form}",
                on_click="ignore",
            )


def _make_file(actor: Actor, campaign_id: UUID, form: str, zone: str) -> bytes:
    table = campaign_progress.export_results(actor, campaign_id, zone)
    return csv_export.csv_file(table) if form == "csv" else documents.xlsx_file([table])
