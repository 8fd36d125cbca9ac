"""Usuários: who there is; admins invite, change roles, shut out, let in, reset passwords and sign people out."""

import streamlit as st

from services.accounts import users
from services.db.actor import Role
from ui.kit import pagination
from ui.kit.i18n import _
from ui.shell import errors
from ui.shell.guard import guard
from ui.staff import users as people

actor = guard(Role.ADMIN, Role.OPERATOR)
st.title(_("Usuários"), anchor=False)
with errors.stopping():
    ours = users.are_managed_here(actor)
if not ours:
    st.info(
        _("Os usuários deste banco são do Supabase: crie e altere-os no painel dele. Aqui eles só aparecem."),
        icon=":material/database:",
    )
changes = ours and actor.role is Role.ADMIN
if changes:
    people.show_invitation(actor)
elif ours:
    st.caption(_("Só a administração pode convidar e alterar usuários."))

find, sort = st.columns([3, 2], vertical_alignment="bottom")
search = find.text_input(_("Buscar"), placeholder=_("E-mail ou nome"), key="users_search")
orders = people.order_choices()
order = orders[sort.selectbox(_("Ordem"), list(orders), key="users_order")]
with errors.stopping():
    found = users.list_users(actor, search=search, order=order, page=pagination.get_page_number("users"))
people.show_table(actor, found, changes=changes)
