"""Chaves: the keys with which other programs speak for the signed-in user."""

import streamlit as st

from services.accounts import api_keys as keys
from ui.integrations import api_keys
from ui.kit.i18n import _
from ui.shell import errors
from ui.shell.guard import guard

actor = guard()
st.title(_("Chaves"), anchor=False)
st.caption(_("Com uma chave, outro programa envia e consulta pelo seu WhatsApp. Dê uma a cada programa."))
with errors.stopping():
    found = keys.list_keys(actor)
api_keys.show_form(actor, opened=not found)
if not found:
    api_keys.explain()
for key in found:
    with st.container(border=True, key=f"key_{key.id}"):
        api_keys.show_card(key)
