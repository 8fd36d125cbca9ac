"""The pages, who has which in the menu, links between them, and the parameters of a page's address."""

from pathlib import Path
from uuid import UUID

import streamlit as st

from services.db.actor import Role
from ui.kit.i18n import _

PAGES = Path(__file__).parents[2] / "pages"
STAFF = (Role.ADMIN, Role.OPERATOR)
ID_PARAMETER = "id"
# In the address of a page that lists what one makes: another one is being made.
NEW = "novo"


def pages_for(role: Role | None) -> dict[str, list[st.Page]]:
    """The menu by role. That a page is missing here hides it; that it guards itself protects it."""
    own = [
        st.Page(PAGES / "my_whatsapp.py", title=_("Meu WhatsApp"), icon=":material/qr_code_2:", default=True),
        st.Page(PAGES / "conversations.py", title=_("Conversas"), icon=":material/forum:"),
        st.Page(PAGES / "send.py", title=_("Enviar"), icon=":material/send:"),
        st.Page(PAGES / "templates.py", title=_("Modelos"), icon=":material/article:"),
        st.Page(PAGES / "schedules.py", title=_("Agendamentos"), icon=":material/calendar_month:"),
        st.Page(PAGES / "campaigns.py", title=_("Campanhas"), icon=":material/campaign:"),
        st.Page(PAGES / "reports.py", title=_("Relatórios"), icon=":material/monitoring:"),
        st.Page(PAGES / "uncertain.py", title=_("Incertos"), icon=":material/help:"),
        st.Page(PAGES / "keys.py", title=_("Chaves"), icon=":material/key:"),
        st.Page(PAGES / "forwarding.py", title=_("Integrações"), icon=":material/webhook:"),
        st.Page(PAGES / "rules.py", title=_("Regras"), icon=":material/rule:"),
        st.Page(PAGES / "outages.py", title=_("Lacunas"), icon=":material/history_toggle_off:"),
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


def id_in_address(parameter: str = ID_PARAMETER) -> UUID | None:
    """The id in `parameter` of the page's address; None where it is left out."""
    given = st.query_params.get(parameter)
    try:
        return None if given is None else UUID(given)
    except ValueError:
        return UUID(int=0)  # nothing has it: the page says what it says of anything that is gone


def chosen_item() -> UUID | str | None:
    """What the address of a page of one's own things names; NEW for one that is being made, None for the list."""
    return NEW if st.query_params.get(ID_PARAMETER) == NEW else id_in_address()


def open_item(which: UUID | str | None) -> None:
    """Go to one of the page's things, to a new one, or back to the list."""
    if which is None:
        st.query_params.clear()
    else:
        st.query_params[ID_PARAMETER] = str(which)
    st.rerun()
