"""Integrações: the user's own systems that hear of what happens here, for staff also those that hear of all."""

import streamlit as st

from services.db.actor import Role
from services.integrations import webhook_endpoints
from ui.integrations import webhook_endpoints as drawn
from ui.kit.i18n import _
from ui.shell import errors, live
from ui.shell.guard import guard
from ui.shell.navigation import STAFF

# The safety reread for a lost push; of what everybody's systems hear there is none.
REREAD_SECONDS = 15

actor = guard()
st.title(_("Integrações"), anchor=False)
st.caption(
    _("O console avisa os seus sistemas quando chega uma mensagem, quando uma é entregue e quando a conexão muda.")
)
drawn.show_rotated_secret()
everybody = False
if actor.role in STAFF:
    own, all_of_them = _("Do meu WhatsApp"), _("De todos")
    chosen = st.segmented_control(_("De quem"), [own, all_of_them], default=own, required=True, key="endpoints_whose")
    everybody = chosen == all_of_them
    if everybody:
        st.caption(
            _("Estas integrações sabem de todas as sessões, sem textos, nomes nem números. Só a administração as muda.")
        )
with errors.stopping():
    none_yet = not webhook_endpoints.list_endpoints(actor, everybody=everybody)
if not everybody or actor.role is Role.ADMIN:
    drawn.show_form(actor, everybody=everybody, opened=none_yet)
if none_yet:
    drawn.explain()


@st.fragment(run_every=REREAD_SECONDS)
def endpoints() -> None:
    actor = guard()
    live.listen("webhook")
    with errors.stopping():
        for endpoint in webhook_endpoints.list_endpoints(actor, everybody=everybody):
            drawn.show_card(actor, endpoint)


endpoints()
