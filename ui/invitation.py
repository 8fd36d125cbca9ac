"""The screen of a one-time link: whoever holds it sets the password of the user whom it names."""

import streamlit as st

from services import users
from services.errors import N_, InvalidInput
from services.identity import MIN_PASSWORD_LENGTH
from services.users import Purpose
from ui import toasts
from ui.guard import address
from ui.text import _

PARAMETER = "convite"


class Different(InvalidInput):
    code = "senhas_diferentes"
    message = N_("As duas senhas não são iguais.")
    hint = N_("Digite a mesma senha nos dois campos.")


def screen(token: str) -> None:
    """The form, until the password is set; then the way to sign in."""
    found = users.invitation(token)
    st.subheader(_("Crie sua senha") if found.purpose is Purpose.INVITE else _("Crie uma senha nova"), anchor=False)
    st.text(found.email)
    with st.form("set_password", border=True):
        first = st.text_input(_("Senha"), type="password", key="new_password")
        again = st.text_input(_("Repita a senha"), type="password", key="new_password_again")
        st.caption(_("Pelo menos {n} caracteres.").format(n=MIN_PASSWORD_LENGTH))
        sent = st.form_submit_button(_("Salvar a senha"), type="primary")
    if sent:
        if first != again:
            raise Different
        users.use(token, first, address())
        st.query_params.clear()
        toasts.after_rerun(_("Senha salva. Entre com seu e-mail e ela."))
        st.rerun()
