"""Auditoria: what staff did and what looked like an attack, searched and exported; is it all as it was written?"""

import streamlit as st

from services.db.actor import Role
from services.security import audit_chain, audit_search
from ui.kit import pagination
from ui.kit.i18n import _
from ui.shell import errors
from ui.shell.guard import guard
from ui.staff import audit_log as drawn

actor = guard(Role.ADMIN, Role.OPERATOR)
st.set_page_config(layout="wide")
st.title(_("Auditoria"), anchor=False)
with errors.stopping():
    drawn.show_chain_state(actor, audit_chain.get_state(actor))

actions, security = st.tabs([_("Ações"), _("Segurança")], key="audit_tabs", on_change="rerun")
with actions:
    if actions.open:
        with errors.stopping():
            wanted = drawn.choose_filter("actions", audit_search.list_kinds(actor, "actions"))
            drawn.show_actions(audit_search.search_actions(actor, wanted, pagination.get_page_number("actions")))
            drawn.show_export(actor, wanted, "actions")
with security:
    if security.open:
        with errors.stopping():
            wanted = drawn.choose_filter("security", audit_search.list_kinds(actor, "security"))
            drawn.show_security_events(
                audit_search.search_security_events(actor, wanted, pagination.get_page_number("security"))
            )
            drawn.show_export(actor, wanted, "security")
