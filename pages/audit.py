"""Auditoria: what staff did and what looked like an attack, searched and exported; is it all as it was written?"""

import streamlit as st

from services import audit, chain
from services.db.actor import Role
from ui import audit_log as drawn
from ui import errors
from ui.guard import guard
from ui.text import _

actor = guard(Role.ADMIN, Role.OPERATOR)
st.set_page_config(layout="wide")
st.title(_("Auditoria"), anchor=False)
with errors.stopping():
    drawn.chain_state(actor, chain.state(actor))

actions, security = st.tabs([_("Ações"), _("Segurança")], key="audit_tabs", on_change="rerun")
with actions:
    if actions.open:
        with errors.stopping():
            wanted = drawn.wanted("actions", audit.kinds(actor, "actions"))
            drawn.actions(audit.find(actor, wanted, drawn.page_number("actions")))
            drawn.export(actor, wanted, "actions")
with security:
    if security.open:
        with errors.stopping():
            wanted = drawn.wanted("security", audit.kinds(actor, "security"))
            drawn.security(audit.find_security(actor, wanted, drawn.page_number("security")))
            drawn.export(actor, wanted, "security")
