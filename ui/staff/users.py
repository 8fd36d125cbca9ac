"""Users on the screen: the list, the invitation, and what an admin can do with the chosen user."""

from urllib.parse import urlsplit, urlunsplit

import pandas as pd
import streamlit as st

from services.accounts import users
from services.accounts.users import PAGE_SIZE, Link, SortColumn, User, UsersPage
from services.db.actor import Actor, Role
from ui.components import confirm
from ui.kit import dates, pagination
from ui.kit.i18n import _
from ui.shell import errors
from ui.shell.invitation import PARAMETER

_LAST_LINK = "users_link"
ROLES = (Role.USER, Role.OPERATOR, Role.ADMIN)


def order_choices() -> dict[str, SortColumn]:
    """The orders on offer: words → column."""
    return {_("E-mail"): "email", _("Nome"): "name", _("Papel"): "role"}


def role_word(role: Role) -> str:
    """A role as people call it."""
    return {Role.ADMIN: _("Administração"), Role.OPERATOR: _("Operação"), Role.USER: _("Usuário")}[role]


def show_invitation(actor: Actor) -> None:
    """The form of an invitation, and the link that was made last, once."""
    with st.expander(_("Convidar alguém"), icon=":material/person_add:"), st.form("invite", border=False):
        email = st.text_input(_("E-mail"), key="invite_email")
        name = st.text_input(_("Nome (opcional)"), key="invite_name")
        role = st.selectbox(_("Papel"), ROLES, format_func=role_word, key="invite_role")
        if st.form_submit_button(_("Criar o convite"), icon=":material/link:"):
            with errors.shown(), st.spinner(_("Criando…")):
                _link_dialog(email, users.invite(actor, email, name, role))
                st.rerun()
    if shown := st.session_state.pop(_LAST_LINK, None):
        _show_link(*shown)


def show_table(actor: Actor, found: UsersPage, *, changes: bool) -> None:
    """One page of users; choosing one offers an admin what can be done."""
    if not found.users:
        st.info(_("Nenhum usuário encontrado. Mude a busca ou convide alguém."), icon=":material/search_off:")
        return
    event = st.dataframe(
        pd.DataFrame([_cells(user) for user in found.users]),
        hide_index=True,
        width="stretch",
        on_select="rerun",
        selection_mode="single-row",
        # Another list is another table: a selection must never move to somebody else.
        key=f"users_{hash(tuple(user.user_id for user in found.users))}",
    )
    st.caption(_("Usuários: {total}").format(total=found.total))
    pagination.show_page_numbers("users", found.total, PAGE_SIZE)
    chosen = event["selection"]["rows"]
    if chosen and changes:
        _user_actions(actor, found.users[chosen[0]])
    elif changes:
        st.caption(_("Escolha uma linha para mudar o papel, a senha ou o acesso."))


def _cells(user: User) -> dict[str, str]:
    return {
        _("E-mail"): user.email,
        _("Nome"): user.name,
        _("Papel"): role_word(user.role),
        _("Acesso"): _("Ativo") if user.active else _("Desativado"),
    }


def _user_actions(actor: Actor, user: User) -> None:
    with st.container(border=True):
        st.text(user.email)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            role = st.selectbox(
                _("Papel"),
                ROLES,
                index=ROLES.index(user.role),
                format_func=role_word,
                key=f"role_{user.user_id}",
                width=180,
            )
            if role is not user.role and st.button(_("Mudar o papel"), key="user_role"):
                confirm.change_user(
                    _("Mudar o papel de {email}?").format(email=user.email),
                    _("Passa a ser **{role}** na próxima tela que abrir.").format(role=role_word(role)),
                    lambda someone: _change_role(someone, user, role),
                )
        with st.container(horizontal=True):
            if st.button(_("Nova senha por link"), icon=":material/lock_reset:", key="user_reset"):
                with errors.shown():
                    _link_dialog(user.email, users.create_reset_link(actor, user.user_id))
                    st.rerun()
            if st.button(_("Sair de todos os lugares"), icon=":material/logout:", key="user_out"):
                confirm.change_user(
                    _("Encerrar todos os acessos de {email}?").format(email=user.email),
                    _("Todos os navegadores dessa pessoa pedem a senha de novo."),
                    lambda someone: _sign_out(someone, user),
                )
            _show_access(user)


def _show_access(user: User) -> None:
    if not user.active:
        if st.button(_("Reativar"), icon=":material/person_check:", key="user_on"):
            confirm.change_user(
                _("Reativar {email}?").format(email=user.email),
                _("A pessoa volta a poder entrar com a senha que tinha."),
                lambda someone: _set_active(someone, user, True),
            )
    elif st.button(_("Desativar"), icon=":material/person_off:", key="user_off"):
        confirm.change_user(
            _("Desativar {email}?").format(email=user.email),
            _("A pessoa sai na hora de todos os lugares, e a sessão de WhatsApp dela é fechada em instantes."),
            lambda someone: _set_active(someone, user, False),
        )


def _change_role(actor: Actor, user: User, role: Role) -> None:
    with errors.shown():
        users.set_role(actor, user.user_id, role)
        st.rerun()


def _sign_out(actor: Actor, user: User) -> None:
    with errors.shown():
        users.sign_out_everywhere(actor, user.user_id)
        st.rerun()


def _set_active(actor: Actor, user: User, on: bool) -> None:
    with errors.shown():
        users.set_active(actor, user.user_id, on)
        st.rerun()


def _link_dialog(email: str, link: Link) -> None:
    st.session_state[_LAST_LINK] = (email, link)


def _show_link(email: str, link: Link) -> None:
    here = urlsplit(st.context.url or "")
    address = urlunsplit((here.scheme, here.netloc, "/", f"{PARAMETER}={link.token}", ""))
    with st.container(border=True):
        st.markdown(_("**Link de uso único.** Copie agora: ele não aparece de novo."))
        st.text(email)
        st.code(address, language=None, wrap_lines=True)
        st.caption(
            _("Vale até {until}. O console não envia e-mail: mande o link por um canal seguro.").format(
                until=dates.short_time(link.expires_at)
            )
        )
