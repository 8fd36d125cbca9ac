"""The audit log and the security events on the screen: filters, pages, export, and the state of the chain."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from services import audit, chain
from services.audit import PAGE_SIZE, Action, Filter, Found, SecurityEvent, Which
from services.chain import State, Verdict
from services.db.actor import Actor
from ui import errors, times
from ui.text import _


def page_number(which: Which) -> int:
    """The page that is looked at, counted from 1."""
    return int(st.session_state.get(f"{which}_page", 1))


def wanted(which: Which, kinds: list[str]) -> Filter:
    """What is looked for, as the person chose it."""
    who, what, whom, since = st.columns(4, vertical_alignment="bottom")
    day = since.date_input(_("Desde"), value=None, format="DD/MM/YYYY", key=f"{which}_since")
    return Filter(
        actor=who.text_input(_("Quem fez"), placeholder=_("E-mail ou nome"), key=f"{which}_actor"),
        kind=what.selectbox(
            _("O quê"),
            [None, *kinds],
            format_func=lambda one: one or _("Tudo"),
            placeholder=_("Tudo"),
            key=f"{which}_kind",
        )
        or "",
        subject=whom.text_input(_("Sobre quem"), placeholder=_("E-mail, nome ou id"), key=f"{which}_subject"),
        since=times.starts(day) if day else None,
    )


def actions(found: Found[Action]) -> None:
    """One page of what was done, newest first."""
    rows = [
        {
            _("Quando"): times.clock(one.at),
            _("Quem"): one.actor or _("sistema"),
            _("O quê"): one.action,
            _("Sobre"): one.subject_email or one.subject or "—",
            _("Detalhe"): one.detail,
            _("Nº"): one.seq,
        }
        for one in found.rows
    ]
    _table("actions", rows, found.total, found.more)


def security(found: Found[SecurityEvent]) -> None:
    """One page of what looked like an attack, newest first."""
    rows = [
        {
            _("Quando"): times.clock(one.at),
            _("O quê"): one.kind,
            _("Sobre"): one.subject_email or one.subject or "—",
            _("Quem"): one.actor or "—",
            _("De onde"): one.ip or "—",
            _("Detalhe"): one.detail,
        }
        for one in found.rows
    ]
    _table("security", rows, found.total, found.more)


def _table(which: Which, rows: Sequence[Mapping[str, object]], total: int, more: bool) -> None:
    if not rows:
        st.info(_("Nada encontrado. Mude os filtros."), icon=":material/search_off:")
        return
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
    counted = _("mais de {total} registros") if more else _("{total} registros")
    st.caption(counted.format(total=total))
    pages = -(-total // PAGE_SIZE)
    if pages > 1:
        st.pagination(pages, key=f"{which}_page")


def export(actor: Actor, wanted: Filter, which: Which) -> None:
    """What the filter shows, as a file for a spreadsheet; preparing it is itself on the record."""
    if st.button(_("Preparar exportação (CSV)"), icon=":material/download:", key=f"{which}_prepare"):
        with errors.shown(), st.spinner(_("Reunindo os registros…")):
            content = "".join(audit.export(actor, wanted, which)).encode("utf-8-sig")
            name = f"auditoria-{which}-{datetime.now(UTC):%Y%m%d-%H%M}.csv"
            st.download_button(_("Baixar {name}").format(name=name), content, name, "text/csv", key=f"{which}_download")


def chain_state(actor: Actor, state: State) -> None:
    """How long the chain is, when it was last checked, and the check."""
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        words = _("**{records}** registros encadeados.").format(records=state.records)
        if state.checked is None:
            words += " " + _("Ainda não conferidos por aqui.")
        elif state.checked.sound:
            words += " " + _("Conferidos {ago}: íntegros.").format(ago=times.ago(state.checked.at))
        else:
            words += " " + _("Conferidos {ago}: **o registro {n} foi alterado**.").format(
                ago=times.ago(state.checked.at), n=state.checked.broken
            )
        st.markdown(words)
        st.space("stretch")
        pressed = st.button(_("Conferir agora"), icon=":material/verified:", key="chain_check")
    if pressed:
        with errors.shown():
            bar = st.progress(0.0, text=_("Conferindo…"))

            def advance(done: int, of: int) -> None:
                bar.progress(done / max(of, 1), text=_("Conferindo…"))

            _verdict(chain.check(actor, advance))


def _verdict(verdict: Verdict) -> None:
    if verdict.sound:
        st.success(_("**Íntegros.** Cada registro está como foi escrito."), icon=":material/verified:")
    else:
        st.error(
            _(
                "**O registro {n} não está como foi escrito.** Alguém mexeu no banco por fora do console: preserve-o e "
                "compare com uma cópia de segurança."
            ).format(n=verdict.broken),
            icon=":material/gpp_bad:",
        )
