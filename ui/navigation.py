"""The pages, who has which in the menu, and links between them."""

from pathlib import Path

import streamlit as st

from services.db.actor import Role
from ui.text import _

PAGES = Path(__file__).parents[1] / "pages"
STAFF = (Role.ADMIN, Role.OPERATOR)


def pages_for(role: Role | None) -> dict[str, list[st.Page]]:
    """The menu by role. That a page is missing here hides it; that it guards itself protects it."""
    own = [
        st.Page(PAGES / "my_whatsapp.py", title=_("Meu WhatsApp"), icon=":material/qr_code_2:", default=True),
        st.Page(PAGES / "send.py", title=_("Enviar"), icon=":material/send:"),
        st.Page(PAGES / "keys.py", title=_("Chaves"), icon=":material/key:"),
        st.Page(PAGES / "diagnostics.py", title=_("Diagnóstico"), icon=":material/stethoscope:"),
        # Reached from a message: without one there is nothing to see.
        st.Page(PAGES / "message.py", title=_("Por que não chegou?"), icon=":material/quiz:", visibility="hidden"),
    ]
    if role not in STAFF:
        return {"": own}
    staff = [
        st.Page(PAGES / "sessions.py", title=_("Sessões"), icon=":material/devices:"),
        st.Page(PAGES / "session.py", title=_("Uma sessão"), icon=":material/device_thermostat:", visibility="hidden"),
        st.Page(PAGES / "events.py", title=_("Eventos"), icon=":material/inbox:"),
        st.Page(PAGES / "servers.py", title=_("Servidores"), icon=":material/dns:"),
        st.Page(PAGES / "users.py", title=_("Usuários"), icon=":material/group:"),
        st.Page(PAGES / "audit.py", title=_("Auditoria"), icon=":material/history_edu:"),
        st.Page(PAGES / "isolation.py", title=_("Isolamento"), icon=":material/shield_lock:"),
        st.Page(PAGES / "cleanup.py", title=_("Limpeza"), icon=":material/mop:"),
    ]
    return {"": own, _("Equipe"): staff}


def link(file: str, label: str, icon: str, **query: str) -> None:
    """A link to the page in `pages/<file>`, with `query` as its parameters."""
    st.page_link(str(Path("..") / "pages" / file), label=label, icon=icon, query_params=query or None)
