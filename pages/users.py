"""Usuários: who there is; admins invite, change roles, shut out, let in, reset passwords and sign people out."""

import streamlit as st

from services import users
from services.db.actor import Role
from ui import errors, people
from ui.guard import guard
from ui.text import _

actor = guard(Role.ADMIN, Role.OPERATOR)
st.title(_("Usuários"), anchor=False)
with errors.stopping():
    ours = users.managed_here(actor)
if not ours:
    st.info(
        _("Os usuários deste banco são do Supabase: crie e altere-os no painel dele. Aqui eles só aparecem."),
        icon=":material/database:",
    )
changes = ours and actor.role is Role.ADMIN
if changes:
    people.invite(actor)
elif ours:
    st.caption(_("Só a administração pode convidar e alterar usuários."))

find, sort = st.columns([3, 2], vertical_alignment="bottom")
search = find.text_input(_("Buscar"), placeholder=_("E-mail ou nome"), key="users_search")
orders = people.orders()
order = orders[sort.selectbox(_("Ordem"), list(orders), key="users_order")]
with errors.stopping():
    found = users.rows(actor, search=search, order=order, page=people.page_number())
people.table(actor, found, changes=changes)
