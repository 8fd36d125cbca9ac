"""Modelos: texts with variables, one's own and the team's, with a preview for real recipients and their versions."""

import streamlit as st

from services import templates
from ui import errors, navigation
from ui import template_editor as editor
from ui import templates as drawn
from ui.guard import guard
from ui.text import _

actor = guard()
st.set_page_config(layout="wide")
st.title(_("Modelos"), anchor=False)
which = navigation.chosen()
if which is None:
    st.caption(_("Textos prontos com variáveis, para usar em “Enviar”. Cada mudança vira uma versão."))
    with errors.stopping():
        drawn.listing(actor)
else:
    if st.button(_("Todos os modelos"), icon=":material/arrow_back:", type="tertiary", key="templates_back"):
        navigation.choose(None)
    with errors.stopping():
        template = None if which == navigation.NEW else templates.get(actor, which)
        if template is None or template.user_id == actor.user_id:
            editor.edit(actor, template)
        else:
            st.subheader(template.name, anchor=False)
            editor.look(actor, template)
