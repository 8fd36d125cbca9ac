"""The servers on the screen: how full and how well each is, what a scan warns of, and what an admin can change.

Their addresses are settings that never reach the browser. A server is called by its number and its place in
WPP_SERVER_URL.
"""

from functools import partial
from typing import Literal

import streamlit as st

from services.db.actor import Actor, Role
from services.fleet import server_health, servers
from services.fleet.server_health import MEASURED_VERSION, ServerWarning
from services.fleet.servers import MAX_CAPACITY, Server
from services.wppconnect.errors import WppError, WppRefused, WppUnauthorized, WppUnreachable
from ui.components import confirm
from ui.kit import dates
from ui.kit.i18n import _
from ui.shell import errors
from ui.staff import server_checks

Colour = Literal["red", "orange", "green", "gray"]


def server_name(server: Server) -> str:
    """What people call a server by."""
    return _("Servidor {number}").format(number=server.number)


def show_figures(found: list[Server]) -> None:
    """How many answer, and how much room there is for new sessions."""
    ours = [one for one in found if one.configured]
    free = sum(max(one.capacity - one.load, 0) for one in ours if one.drained_at is None)
    answering = _("{well} de {all}").format(well=sum(one.healthy is True for one in ours), all=len(ours))
    values = {
        _("Respondendo"): answering,
        _("Conexões"): str(sum(one.load for one in found)),
        _("Lugares livres"): str(free),
    }
    for column, (label, value) in zip(st.columns(3), values.items(), strict=True):
        column.metric(label, value, border=True)
    if not free:
        st.error(
            _(
                "**Nenhum lugar livre: novas conexões são recusadas.** Aumente a capacidade de um servidor, "
                "reative um que esteja esvaziando ou inclua outro em WPP_SERVER_URL."
            ),
            icon=":material/block:",
        )


def show_check_button(actor: Actor) -> None:
    """Look at all servers now, and scan them."""
    if st.button(_("Olhar agora"), icon=":material/visibility:", key="servers_look"):
        with errors.shown(), st.spinner(_("Perguntando a cada servidor…")):
            server_health.update_health(actor, scan=True)


def show_card(actor: Actor, server: Server) -> None:
    """One server."""
    with st.container(border=True):
        _card_head(actor, server)
        share = min(server.load / server.capacity, 1.0) if server.capacity else 1.0
        st.progress(share, text=_load_words(server))
        st.caption(_facts_text(server))
        if server.error and server.error_at:
            _show_last_error(server)
        if server.configured:
            server_checks.show_state(server)
        for warning in server.warnings if server.configured else ():
            _show_warning(warning, server)
        if server.scanned_at and server.configured:
            st.caption(_scan_words(server))


def _card_head(actor: Actor, server: Server) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{server_name(server)}**", width="content")
        word, colour, icon = _state_looks(server)
        st.badge(word, color=colour, icon=icon)
        if server.configured and server.drained_at is not None:
            st.badge(_("Esvaziando"), color="orange", icon=":material/output:")
        st.space("stretch")
        if actor.role is Role.ADMIN and server.configured:
            _controls(actor, server)


def _state_looks(server: Server) -> tuple[str, Colour, str]:
    if not server.configured:
        return _("Não configurado"), "gray", ":material/link_off:"
    if server.healthy is None:
        return _("Ainda não olhado"), "gray", ":material/hourglass_empty:"
    if server.healthy:
        return _("Respondendo"), "green", ":material/check_circle:"
    return _("Com problema"), "red", ":material/error:"


def _controls(actor: Actor, server: Server) -> None:
    server_checks.show_button(actor, server)
    with (
        st.popover(_("Capacidade"), icon=":material/tune:", key=f"capacity_of_{server.number}"),
        st.form(f"capacity_form_{server.number}", border=False),
    ):
        wanted = st.number_input(
            _("Conexões no máximo"),
            min_value=0,
            max_value=MAX_CAPACITY,
            value=server.capacity,
            key=f"capacity_{server.number}",
        )
        st.caption(_("Quem já está conectado fica, mesmo acima do limite."))
        if st.form_submit_button(_("Guardar"), type="primary"):
            _save_capacity(actor, server, int(wanted))
    if server.drained_at is not None:
        if st.button(_("Reativar"), icon=":material/input:", key=f"use_{server.number}"):
            _drain_server(server.url, False, actor)
    elif st.button(_("Esvaziar"), icon=":material/output:", key=f"drain_{server.number}"):
        confirm.drain_server(server_name(server), _drain_consequence(server), partial(_drain_server, server.url, True))


def _save_capacity(actor: Actor, server: Server, wanted: int) -> None:
    with errors.shown(), st.spinner(_("Guardando…")):
        servers.set_capacity(actor, server.url, wanted)
        st.rerun()


def _drain_server(url: str, on: bool, actor: Actor) -> None:
    with errors.shown(), st.spinner(_("Guardando…")):
        servers.drain(actor, url, on)
        st.rerun()


def _drain_consequence(server: Server) -> str:
    return _(
        "Nenhuma conexão nova vai mais para este servidor. As conexões que estão nele continuam: **{load}**. "
        "Quem se desconectar dele e voltar será levado a outro servidor e lerá um código novo no celular.\n\n"
        "Pode ser desfeito a qualquer momento. A ação fica registrada em seu nome."
    ).format(load=server.load)


def _load_words(server: Server) -> str:
    words = _("{load} de {capacity} conexões").format(load=server.load, capacity=server.capacity)
    if server.pairing:
        words += " · " + _("{n} pareando").format(n=server.pairing)
    if server.disconnected:
        words += " · " + _("{n} desconectadas").format(n=server.disconnected)
    return words


def _facts_text(server: Server) -> str:
    if not server.configured:
        return _(
            "Não está mais em WPP_SERVER_URL: não recebe conexões e não é chamado. As que eram dele voltam por outro "
            "servidor, lendo um código novo."
        )
    facts = [_("{n}º endereço de WPP_SERVER_URL").format(n=server.position)]
    if server.checked_at is None:
        return " · ".join([*facts, _("será olhado dentro de 20 segundos")])
    if server.version:
        facts.append(_("versão {version}").format(version=server.version))
    else:
        facts.append(_("versão desconhecida (o servidor só a diz com uma sessão ativa)"))
    if server.latency_ms is not None:
        facts.append(_("latência {ms} ms").format(ms=server.latency_ms))
    if server.healthy and server.started_at is not None:
        facts.append(_("no ar desde {moment}").format(moment=dates.short_time(server.started_at)))
    return " · ".join([*facts, _("olhado {ago}").format(ago=dates.ago(server.checked_at))])


def _show_last_error(server: Server) -> None:
    code, moment = server.error or "", server.error_at
    sentence = f"**{_(_error_message(code))}**"
    if server.configured and server.healthy is False and server.state_since is not None:
        since = _("Desde {moment}.").format(moment=dates.short_time(server.state_since))
        st.error(f"{sentence} {since} {_error_advice(code)}", icon=":material/error:")
    elif moment is not None:
        st.caption(_("Último erro {ago}: {sentence}").format(ago=dates.ago(moment), sentence=_(_error_message(code))))
    if server.error_detail and server.healthy is False:
        st.caption(_("Detalhe técnico: `{detail}`").format(detail=server.error_detail.replace("`", "")))


def _error_message(code: str) -> str:
    known = {one.code: one.message for one in (WppUnreachable, WppUnauthorized, WppRefused)}
    return known.get(code, WppError.message)


def _error_advice(code: str) -> str:
    if code == WppUnauthorized.code:
        return _("Confira se o segredo deste servidor em WPP_SERVER_TOKEN é o SECRET_KEY com que ele roda.")
    return _("Confira se o servidor está no ar e se o console o alcança.")


def _show_warning(warning: ServerWarning, server: Server) -> None:
    if warning is ServerWarning.WRONG_SECRET:
        # Nothing that anybody could mend on the server: it says why the port must be private.
        st.info(_warning_advice(warning, server), icon=":material/info:")
    elif server.only_here and warning in (ServerWarning.UNHEALTHY, ServerWarning.OPEN_SOCKET):
        calm = _("Por enquanto só programas desta máquina alcançam este endereço.")
        st.info(f"{_warning_advice(warning, server)} {calm}", icon=":material/info:")
    else:
        st.warning(_warning_advice(warning, server), icon=":material/warning:")


def _warning_advice(warning: ServerWarning, server: Server) -> str:
    """What was found and what to do, as Markdown."""
    texts = {
        ServerWarning.FACTORY_SECRET: _(
            "**O servidor usa o segredo de fábrica.** Qualquer pessoa que o alcance controla todas as sessões dele. "
            "Troque o SECRET_KEY no servidor e o valor em WPP_SERVER_TOKEN."
        ),
        ServerWarning.UNHEALTHY: _(
            "**`/unhealthy` passa até o servidor.** Quem o alcança derruba todas as sessões com um só pedido, sem "
            "senha. Bloqueie esse caminho no proxy e deixe a porta aberta só para o console."
        ),
        ServerWarning.OPEN_SOCKET: _(
            "**O socket.io aceita qualquer um.** Por ele saem os códigos QR e as mensagens de todas as sessões. "
            "Bloqueie `/socket.io` no proxy e deixe a porta aberta só para o console."
        ),
        ServerWarning.OLD_VERSION: _(
            "**Versão antiga: {version}.** O console foi medido com a {measured}. Esvazie este servidor e atualize-o."
        ).format(version=server.version, measured=_measured_text()),
        ServerWarning.WRONG_SECRET: _(
            "**`clear-session-data` e `start-all` agem também com um segredo errado.** Respondem 400 e fazem o pedido "
            "mesmo assim: quem alcança a porta apaga os dados de qualquer sessão ou inicia todas. De fora não se vê a "
            "diferença, e por isso não é tentado; é conhecido das versões até a {measured}, e os pedidos chegam daqui "
            "até o servidor. Deixe a porta aberta só para o console."
        ).format(measured=_measured_text()),
    }
    return texts[warning]


def _measured_text() -> str:
    return ".".join(str(part) for part in MEASURED_VERSION)


def _scan_words(server: Server) -> str:
    ago = dates.ago(server.scanned_at)
    if set(server.warnings) - {ServerWarning.WRONG_SECRET}:
        return _("Verificação de segurança {ago}.").format(ago=ago)
    return _("Verificação de segurança {ago}: nada a corrigir.").format(ago=ago)
