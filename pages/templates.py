"""Modelos: texts with variables, one's own and the team's, with a preview for real recipients and their versions."""

import streamlit as st

from services.outreach import templates
from ui.kit.i18n import _
from ui.sending import template_editor as editor
from ui.sending import templates as drawn
from ui.shell import errors, navigation
from ui.shell.guard import guard

actor = guard()
st.set_page_config(layout="wide")
st.title(_("Modelos"), anchor=False)
which = navigation.chosen_item()
if which is None:
    st.caption(_("Textos prontos com variáveis, para usar em “Enviar”. Cada mudança vira uma versão."))
    with errors.stopping():
        drawn.show_list(actor)
else:
    if st.button(_("Todos os modelos"), icon=":material/arrow_back:", type="tertiary", key="templates_back"):
        navigation.open_item(None)
    with errors.stopping():
        template = None if which == navigation.NEW else templates.get_template(actor, which)
        if template is None or template.user_id == actor.user_id:
            editor.show_editor(actor, template)
        else:
            st.subheader(template.name, anchor=False)
            editor.show_shared(actor, template)
