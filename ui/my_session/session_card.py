"""The card of the user's own session in each of its states, with what can be done from there."""

import streamlit as st

from services.db.actor import Actor
from services.fleet import commands, incidents
from services.fleet.session import Session
from services.wppconnect.phone import format_phone, list_spellings
from ui.components import confirm, pairing_code
from ui.kit import badges, dates
from ui.kit.i18n import _
from ui.shell import errors, navigation


def show_disconnected(actor: Actor, session: Session | None) -> None:
    """Nothing runs: why it ended, and both ways to connect."""
    if session is not None and session.failure:
        st.warning(badges.session_failure(session.failure), icon=":material/info:")
    with st.container(border=True):
        st.subheader(_("Conecte seu WhatsApp"), anchor=False)
        st.write(_("Seu celular continua com o WhatsApp de sempre; o Plushify entra como um aparelho conectado."))
        by_qr, by_code = st.tabs([_("Com código QR"), _("Com código no celular")])
        with by_qr:
            label = _("Tentar de novo") if session is not None and session.failure else _("Conectar")
            if st.button(label, type="primary", icon=":material/qr_code_2:", key="connect"):
                _connect(actor)
        with by_code, st.form("by_code", border=False):
            phone = st.text_input(_("Número do seu WhatsApp"), placeholder="(11) 99999-9999", key="pairing_phone")
            if st.form_submit_button(_("Receber código"), icon=":material/dialpad:", key="connect_code"):
                _connect(actor, phone)
        if session is not None and session.server_holds:
            st.caption(_("O servidor ainda guarda a conexão anterior: conectar pode dispensar um código novo."))
            if st.button(_("Desconectar"), icon=":material/link_off:", key="disconnect"):
                confirm.disconnect_own(_disconnect)


def _connect(actor: Actor, phone: str | None = None) -> None:
    with errors.shown(), st.spinner(_("Chamando o servidor do WhatsApp…")):
        commands.connect(actor, phone=phone)
        st.rerun()


def show_pairing(actor: Actor, session: Session) -> None:
    """Pairing: the picture or the code to use now, or that it is being made."""
    with st.container(border=True):
        if session.scanned_at is not None:
            st.subheader(_("Código lido"), anchor=False)
            _show_waiting(_("Carregando suas conversas. Isso pode levar um minuto…"))
        elif session.waits_until is not None:
            st.subheader(_("Só um instante"), anchor=False)
            pairing_code.show_countdown(
                session.waits_until, _("A conexão anterior ainda está terminando no servidor. Faltam no máximo {s} s.")
            )
        elif session.phone_number and not (session.qr or session.phone_code):
            st.subheader(_("Religando"), anchor=False)
            _show_waiting(
                _("Seu celular continua pareado; a conexão volta em segundos. Se for preciso, um código aparece aqui.")
            )
        elif session.pairing_phone:
            st.subheader(_("Digite este código no celular"), anchor=False)
            if session.phone_code and session.phone_code_at:
                pairing_code.show_phone_code(
                    session.phone_code, session.phone_code_at, format_phone(session.pairing_phone)
                )
            else:
                _show_waiting(_("Pedindo um código ao WhatsApp…"))
            st.write(_("WhatsApp → **Aparelhos conectados** → **Conectar um aparelho** → **Conectar com número**."))
            if session.phone_code:
                _offer_other_spelling(actor, session.pairing_phone)
        else:
            st.subheader(_("Leia o código com o celular"), anchor=False)
            if session.qr is not None:
                pairing_code.show_qr(session.qr)
            else:
                _show_waiting(_("Preparando o código…"))
            st.write(_("WhatsApp → **Aparelhos conectados** → **Conectar um aparelho** → aponte para o código."))
        if st.button(_("Cancelar"), key="cancel"):
            _disconnect(actor)


def _offer_other_spelling(actor: Actor, phone: str) -> None:
    """WhatsApp gives a code for either spelling of a number, and the phone accepts it for the account's own alone."""
    for other in list_spellings(phone)[1:]:
        st.caption(_("O celular não aceitou o código? O WhatsApp pode conhecer seu número na outra forma."))
        label = _("Tentar com {phone}").format(phone=format_phone(other))
        if st.button(label, icon=":material/dialpad:", key="other_spelling"):
            _connect(actor, f"+{other}")


def _show_waiting(for_what: str) -> None:
    """Something is under way, and nobody can say how far it is."""
    st.html('<div class="plushify-wait" role="progressbar"></div>')
    st.caption(for_what)


def show_connected(actor: Actor, session: Session) -> None:
    """Connected: as whom, how that was last proved, and what can be done."""
    warn_unreachable(actor, session)
    with st.container(border=True):
        st.subheader(":material/check_circle: " + _("Conectado!"), anchor=False)
        with st.container(gap=None):
            st.text(format_phone(session.phone_number) if session.phone_number else _("Lendo o número…"))
            st.text(session.device_name or "")
        st.caption(badges.proof_sentence(session.last_proof_at, session.last_proof_kind))
        with st.container(horizontal=True, vertical_alignment="center"):
            navigation.link("send.py", _("Enviar uma mensagem"), ":material/send:")
            if st.button(_("Reconectar"), icon=":material/refresh:", key="reconnect"):
                with errors.shown(), st.spinner(_("Reiniciando a conexão…")):
                    commands.reconnect(actor)
                    st.rerun()
            if st.button(_("Desconectar"), icon=":material/link_off:", key="disconnect"):
                confirm.disconnect_own(_disconnect)


def warn_unreachable(actor: Actor, session: Session) -> None:
    """Says it where the worker found that WhatsApp does not answer for the session: so its queue waits."""
    with errors.stopping():
        since = incidents.open_since(actor, incidents.Kind.ZOMBIE, session.id)
    if since is not None:
        words = _(
            "**O WhatsApp não responde por esta sessão** ({ago}). O que está na fila espera e sai quando ele responder;"
            " a religação automática já está tentando."
        )
        st.warning(words.format(ago=dates.ago(since)), icon=":material/cloud_off:")


def _disconnect(actor: Actor) -> None:
    with errors.shown(), st.spinner(_("Encerrando no servidor…")):
        commands.disconnect(actor)
        st.rerun()
