"""The audit log and the security events on the screen: filters, pages, export, and the state of the chain."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from services.db.actor import Actor
from services.errors import N_
from services.security import audit_chain, audit_search
from services.security.audit_chain import ChainState, Verification
from services.security.audit_search import PAGE_SIZE, Action, Filter, LogName, ResultPage, SecurityEvent
from ui.kit import dates, pagination
from ui.kit.i18n import _
from ui.shell import errors

# What was done or tried, for people.
ACTION_WORDS: dict[str, str] = {
    "audit.export": N_("Exportou a auditoria"),
    "audit.verify": N_("Conferiu a auditoria"),
    "cleanup.run": N_("Mandou limpar"),
    "endpoint.change": N_("Mudou uma integração"),
    "endpoint.create": N_("Criou uma integração"),
    "endpoint.remove": N_("Apagou uma integração"),
    "endpoint.replay": N_("Reenviou avisos de uma integração"),
    "endpoint.rotate": N_("Trocou o segredo de uma integração"),
    "event.replay": N_("Reprocessou eventos"),
    "fleet.restart": N_("Reiniciou sessões em ondas"),
    "fleet.restart_cancelled": N_("Cancelou um reinício em ondas"),
    "fleet.restart_paused": N_("Pausou um reinício em ondas"),
    "fleet.restart_resumed": N_("Retomou um reinício em ondas"),
    "glass.break": N_("Quebrou o vidro"),
    "glass.mend": N_("Fechou o vidro"),
    "isolation.prove": N_("Provou o isolamento"),
    "key.create": N_("Criou uma chave"),
    "key.revoke": N_("Revogou uma chave"),
    "opt_out.end": N_("Desfez um pedido para não receber"),
    "sending.go_on": N_("Liberou os envios"),
    "number.continue": N_("Continuou pelo número novo"),
    "number.drop": N_("Descartou o que era do número anterior"),
    "sending.stop": N_("Parou os envios"),
    "server.capacity": N_("Mudou a capacidade de um servidor"),
    "server.check": N_("Conferiu o contrato de um servidor"),
    "server.drain": N_("Mandou esvaziar um servidor"),
    "server.undrain": N_("Voltou a usar um servidor"),
    "session.close": N_("Fechou a sessão"),
    "session.connect": N_("Pediu a conexão"),
    "session.disconnect": N_("Desconectou a sessão"),
    "session.move": N_("Moveu a sessão de servidor"),
    "session.restart": N_("Reiniciou a sessão"),
    "template.archive": N_("Arquivou um modelo"),
    "template.share": N_("Compartilhou um modelo"),
    "template.unarchive": N_("Desarquivou um modelo"),
    "template.unshare": N_("Deixou de compartilhar um modelo"),
    "user.activate": N_("Liberou o acesso"),
    "user.create": N_("Criou um usuário"),
    "user.deactivate": N_("Desativou o acesso"),
    "user.invite": N_("Convidou uma pessoa"),
    "user.reset": N_("Fez um link de senha nova"),
    "user.role": N_("Mudou o papel"),
    "user.sign_out": N_("Encerrou os acessos"),
    "api_refused": N_("API: credencial recusada"),
    "audit_broken": N_("Auditoria alterada"),
    "isolation_leak": N_("Vazamento no isolamento"),
    "page_refused": N_("Página recusada"),
    "password_set": N_("Senha trocada"),
    "rate_limited": N_("Pedidos demais"),
    "tokens_revoked": N_("Acessos encerrados"),
    "webhook_refused": N_("Aviso com segredo errado"),
    "sign_in": N_("Entrou"),
    "sign_in_failed": N_("Senha errada"),
    "sign_in_locked": N_("Entrada bloqueada por tentativas"),
}


def code_word(code: str) -> str:
    """A code of the log for people; one that is unknown here stands for itself. Exports keep the codes."""
    return _(ACTION_WORDS[code]) if code in ACTION_WORDS else code


def choose_filter(which: LogName, kinds: list[str]) -> Filter:
    """What is looked for, as the person chose it."""
    who, what, whom, since = st.columns(4, vertical_alignment="bottom")
    day = since.date_input(_("Desde"), value=None, format="DD/MM/YYYY", key=f"{which}_since")
    return Filter(
        actor=who.text_input(_("Quem fez"), placeholder=_("E-mail ou nome"), key=f"{which}_actor"),
        kind=what.selectbox(
            _("O quê"),
            [None, *kinds],
            format_func=lambda one: code_word(one) if one else _("Tudo"),
            placeholder=_("Tudo"),
            key=f"{which}_kind",
        )
        or "",
        subject=whom.text_input(_("Sobre quem"), placeholder=_("E-mail, nome ou id"), key=f"{which}_subject"),
        since=dates.start_of_day(day) if day else None,
    )


def show_actions(found: ResultPage[Action]) -> None:
    """One page of what was done, newest first."""
    rows = [
        {
            _("Quando"): dates.short_time(one.at),
            _("Quem"): one.actor or _("sistema"),
            _("O quê"): code_word(one.action),
            _("Sobre"): one.subject_email or one.subject or "—",
            _("Detalhe"): one.detail,
            _("Nº"): one.seq,
        }
        for one in found.rows
    ]
    _show_table("actions", rows, found.total, found.more)


def show_security_events(found: ResultPage[SecurityEvent]) -> None:
    """One page of what looked like an attack, newest first."""
    rows = [
        {
            _("Quando"): dates.short_time(one.at),
            _("O quê"): code_word(one.kind),
            _("Sobre"): one.subject_email or one.subject or "—",
            _("Quem"): one.actor or "—",
            _("De onde"): one.ip or "—",
            _("Detalhe"): one.detail,
        }
        for one in found.rows
    ]
    _show_table("security", rows, found.total, found.more)


def _show_table(which: LogName, rows: Sequence[Mapping[str, object]], total: int, more: bool) -> None:
    if not rows:
        st.info(_("Nada encontrado. Mude os filtros."), icon=":material/search_off:")
        return
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch")
    counted = _("mais de {total} registros") if more else _("{total} registros")
    st.caption(counted.format(total=total))
    pagination.show_page_numbers(which, total, PAGE_SIZE)


def show_export(actor: Actor, wanted: Filter, which: LogName) -> None:
    """What the filter shows, as a file for a spreadsheet; preparing it is itself on the record."""
    if st.button(_("Preparar exportação (CSV)"), icon=":material/download:", key=f"{which}_prepare"):
        with errors.shown(), st.spinner(_("Reunindo os registros…")):
            content = "".join(audit_search.export_csv(actor, wanted, which)).encode("utf-8-sig")
            name = f"auditoria-{which}-{datetime.now(UTC):%Y%m%d-%H%M}.csv"
            st.download_button(_("Baixar {name}").format(name=name), content, name, "text/csv", key=f"{which}_download")


def show_chain_state(actor: Actor, state: ChainState) -> None:
    """How long the chain is, when it was last checked, and the check."""
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        words = _("**{records}** registros encadeados.").format(records=state.records)
        if state.checked is None:
            words += " " + _("Ainda não conferidos por aqui.")
        elif state.checked.sound:
            words += " " + _("Conferidos {ago}: íntegros.").format(ago=dates.ago(state.checked.at))
        else:
            words += " " + _("Conferidos {ago}: **o registro {n} foi alterado**.").format(
                ago=dates.ago(state.checked.at), n=state.checked.broken
            )
        st.markdown(words)
        st.space("stretch")
        pressed = st.button(_("Conferir agora"), icon=":material/verified:", key="chain_check")
    if pressed:
        with errors.shown():
            bar = st.progress(0.0, text=_("Conferindo…"))

            def advance(done: int, of: int) -> None:
                bar.progress(done / max(of, 1), text=_("Conferindo…"))

            _show_verdict(audit_chain.verify_and_record(actor, advance))


def _show_verdict(verdict: Verification) -> None:
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
