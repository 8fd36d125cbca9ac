"""The API keys of a user: make one, show it once, revoke it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import streamlit as st

from services import settings
from services.accounts import api_keys
from services.accounts.api_keys import MAX_NAME_LENGTH, ApiKey, Scope
from services.db.actor import Actor
from ui.components import confirm
from ui.kit import dates
from ui.kit.i18n import _
from ui.shell import errors
from ui.shell.guard import guard

LIFETIMES_DAYS = (90, 30, 365, None)


def scope_word(scope: Scope) -> str:
    words = {
        Scope.READ: _("Consultar estado e mensagens"),
        Scope.SEND: _("Enviar mensagens"),
        Scope.SESSION: _("Conectar e desconectar"),
    }
    return words[scope]


def show_form(actor: Actor, *, opened: bool) -> None:
    """Make a key; its secret is shown once, in a dialog."""
    with st.expander(_("Nova chave"), expanded=opened, icon=":material/add:"), st.form("new_key", border=False):
        name = st.text_input(
            _("Para qual programa?"), placeholder=_("Por exemplo: ERP da loja"), max_chars=MAX_NAME_LENGTH
        )
        scopes = st.pills(
            _("Pode"), list(Scope), selection_mode="multi", default=[Scope.READ, Scope.SEND], format_func=scope_word
        )
        lifetime = st.selectbox(_("Vale por"), LIFETIMES_DAYS, format_func=_lifetime_word)
        made = st.form_submit_button(_("Criar chave"), type="primary", icon=":material/key:")
    if made:
        with errors.shown():
            until = datetime.now(UTC) + timedelta(days=lifetime) if lifetime else None
            _show_secret(api_keys.create(actor, name, frozenset(scopes), until).secret)


def explain() -> None:
    """What a key is good for, while there is none yet."""
    st.caption(_("Assim um programa envia com a chave:"))
    address = f"{settings.get().http.public_webhook_url}/functions/v1/enviar-mensagem-whatsapp"
    body = '{"phone": "5511999999999", "message": "Olá!"}'
    st.code(
        f"curl {address} \\\n  -H 'Authorization: Bearer plk_…' \\\n"
        f"  -H 'Content-Type: application/json' \\\n  -d '{body}'",
        language=None,
        wrap_lines=True,
    )


def show_card(key: ApiKey) -> None:
    """One key with what can be done about it."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.text(key.name)
        _state_badge(key)
    st.caption(" · ".join(scope_word(scope) for scope in Scope if scope in key.scopes))
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        used = (
            _("nunca usada") if key.last_used_at is None else _("usada {ago}").format(ago=dates.ago(key.last_used_at))
        )
        st.caption(f"`{key.prefix}…` · {used} · {_expiry_text(key)}")
        if key.usable and st.button(_("Revogar"), icon=":material/key_off:", key=f"revoke_{key.id}"):
            confirm.revoke_key(key.name, key.id, _revoke_key)


def _show_secret(secret: str) -> None:
    @st.dialog(_("Copie a chave agora"), dismissible=False)
    def dialog() -> None:
        guard()
        st.write(_("Ela não será mostrada de novo: guardamos só uma impressão dela."))
        st.code(secret, language=None, wrap_lines=True)
        if st.button(_("Já guardei"), type="primary", icon=":material/check:", width="stretch", key="key_kept"):
            st.rerun()

    dialog()


def _revoke_key(actor: Actor, key_id: UUID) -> None:
    with errors.shown():
        api_keys.revoke(actor, key_id)
        st.rerun()


def _state_badge(key: ApiKey) -> None:
    if key.revoked_at is not None:
        st.badge(_("Revogada"), color="gray", icon=":material/key_off:")
    elif not key.usable:
        st.badge(_("Vencida"), color="orange", icon=":material/timer_off:")
    else:
        st.badge(_("Ativa"), color="green", icon=":material/check:")


def _lifetime_word(days: int | None) -> str:
    return _("{n} dias").format(n=days) if days else _("sem prazo")


def _expiry_text(key: ApiKey) -> str:
    if key.expires_at is None:
        return _("sem prazo")
    return _("até {day}").format(day=dates.full_day(key.expires_at))
