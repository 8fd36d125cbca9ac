"""Chaves: the keys with which other programs speak for the signed-in user."""

import streamlit as st

from services import keys
from ui import api_keys, errors
from ui.guard import guard
from ui.text import _

actor = guard()
st.title(_("Chaves"), anchor=False)
st.caption(_("Com uma chave, outro programa envia e consulta pelo seu WhatsApp. Dê uma a cada programa."))
with errors.stopping():
    found = keys.mine(actor)
api_keys.form(actor, opened=not found)
if not found:
    api_keys.example()
for key in found:
    with st.container(border=True, key=f"key_{key.id}"):
        api_keys.card(key)
