"""Makes a campaign: its name, its template, its recipients."""

from collections.abc import Sequence
from uuid import UUID, uuid4

import streamlit as st

from services.db.actor import Actor
from services.outreach import campaigns, recipients
from services.outreach.errors import EmptyList
from services.outreach.recipients import Recipient
from ui.components import message_preview
from ui.kit.i18n import _
from ui.sending import templates
from ui.sending.campaigns import open_campaign
from ui.sending.recipients import choose_recipients
from ui.shell import errors, navigation

CAMPAIGN_KEY = "campaign_key"


def show_form(actor: Actor) -> None:
    """Which template, and to whom; the pace and the confirmation come on its own page."""
    key = st.session_state.setdefault(CAMPAIGN_KEY, str(uuid4()))
    name = st.text_input(_("Nome da campanha"), max_chars=80, key=f"campaign_{key}_name")
    template = templates.choose_template(actor, f"campaign_{key}_template")
    if template is None:
        st.info(_("Uma campanha parte de um modelo: escolha um ou crie-o antes."), icon=":material/article:")
        navigation.link("templates.py", _("Ir para Modelos"), ":material/article:")
        return
    common = templates.value_fields(template, f"campaign_{key}_values")
    found = choose_recipients(actor, f"campaign_{key}_to", template, common) or ()
    ready = recipients.only_sendable(found)
    message_preview.preview_first(ready, template, common)
    if st.button(_("Ver a previsão"), type="primary", icon=":material/insights:", key="campaign_create"):
        with errors.shown(), st.spinner(_("Guardando a lista…")):
            if not ready:
                raise EmptyList("nobody to send to")
            made = campaigns.create(actor, name, template, _with_common_values(ready, common), key=UUID(key))
            st.session_state.pop(CAMPAIGN_KEY, None)
            open_campaign(made.id)


def _with_common_values(ready: Sequence[Recipient], common: dict[str, str]) -> list[Recipient]:
    """What stands in a list's columns goes before what was filled in for all."""
    return [
        Recipient(one.row, one.written, one.phone, one.name, {**common, **one.values}, one.problem) for one in ready
    ]
