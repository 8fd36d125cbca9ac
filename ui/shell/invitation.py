"""The screen of a one-time link: whoever has the link sets the password of the user whom it names."""

import streamlit as st

from services.accounts import users
from services.accounts.credentials import MIN_PASSWORD_LENGTH
from services.accounts.users import LinkPurpose
from services.errors import N_, InvalidInput
from ui.kit import flash
from ui.kit.i18n import _
from ui.shell.guard import client_address

PARAMETER = "convite"


class PasswordsDiffer(InvalidInput):
    code = "senhas_diferentes"
    message = N_("As duas senhas não são iguais.")
    hint = N_("Digite a mesma senha nos dois campos.")


def show_screen(token: str) -> None:
    """The form, until the password is set; then the way to sign in."""
    found = users.get_invitation(token)
    st.subheader(_("Crie sua senha") if found.purpose is LinkPurpose.INVITE else _("Crie uma senha nova"), anchor=False)
    st.text(found.email)
    with st.form("set_password", border=True):
        first = st.text_input(_("Senha"), type="password", key="new_password")
        again = st.text_input(_("Repita a senha"), type="password", key="new_password_again")
        st.caption(_("Pelo menos {n} caracteres.").format(n=MIN_PASSWORD_LENGTH))
        sent = st.form_submit_button(_("Salvar a senha"), type="primary")
    if sent:
        if first != again:
            raise PasswordsDiffer
        users.set_password_by_link(token, first, client_address())
        st.query_params.clear()
        flash.after_rerun(_("Senha salva. Entre com seu e-mail e ela."))
        st.rerun()
