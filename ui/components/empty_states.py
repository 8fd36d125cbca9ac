"""What is shown where there is nothing, with the next step."""

import streamlit as st

from ui.kit.i18n import _
from ui.shell import navigation


def no_such_user() -> None:
    """The address names a person who is not there."""
    st.warning(_("**Esta pessoa não existe mais.** Volte à lista de sessões."), icon=":material/person_off:")
    navigation.link("sessions.py", _("Ver as sessões"), ":material/devices:")
