"""A server's contract check on the screen: what the console relies on, and where the server differs.

A server's answers are shown as types and known words only (`contract.Fact`), in code, so nothing in them is read as
Markdown.
"""

import streamlit as st

from services.db.actor import Actor
from services.errors import N_
from services.fleet import contract_checks
from services.fleet.contract_checks import ContractCheck
from services.fleet.servers import Server
from services.wppconnect.contract_facts import Fact, Outcome
from services.wppconnect.errors import WppError, WppUnauthorized, WppUnreachable
from ui.kit import dates
from ui.kit.i18n import _
from ui.shell import errors

# What the console relies on, by the fact's name; `contract_facts.FACTS` says the same in English.
FACT_SENTENCES = {
    "no token": N_("Uma chamada sem token é recusada com 401."),
    "bad token": N_("Um token feito com outro segredo é recusado com 401."),
    "unknown route": N_("Uma rota que não existe é respondida com 404 pela página do próprio Express, não com JSON."),
    "generate-token": N_(
        "generate-token dá bcrypt(sessão + SECRET_KEY), e por isso os tokens podem ser calculados aqui."
    ),
    "generate-token, wrong secret": N_("generate-token recusa outro segredo com 400."),
    "healthz": N_("healthz diz, sem token, desde quando o servidor está no ar."),
    "show-all, wrong secret": N_("show-all-sessions recusa outro segredo com 400."),
    "show-all": N_("show-all-sessions lista os nomes das sessões guardadas."),
    "never started: status-session": N_("Uma sessão nunca iniciada está CLOSED, e um token calculado aqui é aceito."),
    "never started: check-connection": N_("Uma sessão nunca iniciada é respondida com 200 e status false."),
    "never started: close-session": N_("close-session de uma sessão nunca iniciada dá 500."),
    "never started: logout-session": N_("logout-session de uma sessão que não está de pé dá 404 Disconnected."),
    "never started: get-phone-number": N_("Uma pergunta a uma sessão que não está de pé dá 404 Disconnected."),
    "never started: send-message": N_("Um envio por uma sessão que não está de pé dá 404 Disconnected: nada saiu."),
    "never started: list-chats": N_("list-chats de uma sessão que não está de pé dá 404 Disconnected."),
    "never started: pn-lid": N_("contact/pn-lid de uma sessão que não está de pé dá 404 Disconnected."),
    "never started: get-media-by-message": N_("get-media-by-message de uma sessão que não está de pé dá 500."),
    "start-session": N_("start-session responde na hora, com o estado de antes do início."),
    "starting: status-session": N_("Um início está INITIALIZING até o primeiro QR e diz a versão do servidor."),
    "QR shown: status-session": N_("Depois está QRCODE, com a imagem e o texto do código."),
    "QR shown: start-session": N_("Um segundo início não muda nada e responde com o código que está no ar."),
    "QR shown: qrcode-session": N_("qrcode-session desenha o código como PNG."),
    "QR shown: check-connection": N_("Uma sessão que espera a leitura não está conectada."),
    "QR shown: send-message": N_("Um envio antes da leitura dá 404 Disconnected: nada saiu."),
    "QR shown: logout-session": N_("logout-session antes da leitura dá 404 Disconnected."),
    "QR shown: get-phone-number": N_("Uma pergunta antes da leitura dá 404 Disconnected."),
    "a start shows its QR": N_("Um início avisa notLogged e o qrcode, com imagem e texto."),
    "webhook credentials": N_("A senha no endereço do webhook chega como autorização Basic."),
    "nobody reads the QR": N_("Depois de 60 s sem leitura são avisados browserClose e qrReadError, e mais nada."),
    "ended unscanned: status-session": N_("Um início que ninguém leu termina sozinho e fica CLOSED."),
    "ended unscanned: check-connection": N_("Um início que terminou não está conectado."),
    "clear-session-data": N_("clear-session-data apaga o que uma sessão parada deixou."),
}
_NOT_REACHED = N_("a conferência não chegou até aqui")
_REASON_WORDS = {
    "no webhook has arrived": N_("nenhum aviso chegou: o servidor não alcança este processo"),
    "kept shut by something in front of the server": N_("fechado por algo que está na frente do servidor"),
}


def show_button(actor: Actor, server: Server) -> None:
    """Begin a check, where none is running."""
    running = server.running_check
    busy = running is not None and not running.cut_off
    if st.button(
        _("Conferir contrato"),
        icon=":material/fact_check:",
        key=f"check_{server.number}",
        disabled=busy,
        help=_(
            "Compara o que este servidor responde com o que o console espera, por uma sessão própria que ninguém lê. "
            "Leva até dois minutos e não toca em nenhuma outra sessão."
        ),
    ):
        with errors.shown():
            contract_checks.start_check(actor, server.url)
            st.rerun()


def show_state(server: Server) -> None:
    """How far a check is, what came of the last one, and whether the version is another now."""
    if server.changed_from is not None:
        st.warning(
            _(
                "**A versão mudou de {old} para {new} desde a última conferência.** Confira o contrato: o console foi "
                "feito para o que a versão conferida respondia."
            ).format(old=_code_text(server.changed_from), new=_code_text(server.version)),
            icon=":material/upgrade:",
        )
    running = server.running_check
    if running is not None and running.cut_off:
        st.caption(_("A última conferência do contrato foi interrompida. Comece outra."))
    elif running is not None:
        share = min(running.done / running.steps, 1.0)
        st.progress(
            share, text=_("Conferindo o contrato: {done} de {steps}").format(done=running.done, steps=running.steps)
        )
    if server.failed_check is not None:
        st.warning(_failure_sentence(server.failed_check), icon=":material/fact_check:")
    if server.last_check is not None:
        _show_result(server.last_check)


def _failure_sentence(check: ContractCheck) -> str:
    known = {one.code: one.message for one in (WppUnreachable, WppUnauthorized)}
    reason = _(known.get(check.error or "", WppError.message))
    return _("**O contrato não pôde ser conferido {ago}.** {reason}").format(ago=_age_text(check), reason=reason)


def _show_result(check: ContractCheck) -> None:
    differing, unchecked = check.of(Outcome.DIFFERS), check.of(Outcome.UNCHECKED)
    counts = _("{holds} pontos valem, {differ} diferem, {unchecked} não conferidos").format(
        holds=len(check.of(Outcome.HOLDS)), differ=len(differing), unchecked=len(unchecked)
    )
    where = (
        _("versão {version}").format(version=_code_text(check.version)) if check.version else _("versão desconhecida")
    )
    if differing:
        st.warning(
            _("**Este servidor não responde como o console espera** ({where}, {ago}): {counts}.").format(
                where=where, ago=_age_text(check), counts=counts
            ),
            icon=":material/fact_check:",
        )
    else:
        st.caption(
            _("Contrato conferido {ago} ({where}): {counts}.").format(where=where, ago=_age_text(check), counts=counts)
        )
    if differing or unchecked:
        with st.expander(_("O que foi conferido")):
            for fact in differing:
                _show_difference(fact)
            for fact in unchecked:
                why = _(_REASON_WORDS.get(fact.answered, _NOT_REACHED))
                st.caption(_("Não conferido: {sentence} ({why})").format(sentence=_fact_sentence(fact), why=why))


def _show_difference(fact: Fact) -> None:
    st.markdown(_("**Difere:** {sentence}").format(sentence=_fact_sentence(fact)))
    st.caption(_("esperado"))
    st.code(fact.expected, language=None, wrap_lines=True)
    st.caption(_("respondido"))
    st.code(fact.answered or "-", language=None, wrap_lines=True)


def _fact_sentence(fact: Fact) -> str:
    """A fact that an earlier console knew has no sentence any more."""
    return _(FACT_SENTENCES[fact.name]) if fact.name in FACT_SENTENCES else _code_text(fact.name)


def _age_text(check: ContractCheck) -> str:
    return dates.ago(check.finished_at or check.started_at)


def _code_text(word: str | None) -> str:
    return f"`{(word or '').replace('`', '')}`"
