"""Break-glass access on the screen: staff see a user's code or chats for a written reason; the user is told."""

from uuid import UUID

import streamlit as st

from services.db.actor import Actor
from services.fleet import session
from services.security import break_glass
from services.security.break_glass import DEFAULT_MINUTES, MAX_MINUTES, AccessGrant, Scope
from ui.components import pairing_code
from ui.kit import dates
from ui.kit.i18n import _
from ui.shell import errors


def show_code(actor: Actor, user_id: UUID) -> None:
    """The code of a session that pairs: behind glass, or in sight until the access ends by itself."""
    open_now = break_glass.get_active_grant(actor, user_id, Scope.QR)
    if open_now is None:
        offer_access(actor, user_id, Scope.QR)
        return
    with st.container(border=True):
        found = session.get(actor, user_id)
        if found is not None and found.qr is not None:
            pairing_code.show_qr(found.qr)
        elif found is not None and found.phone_code:
            st.code(found.phone_code, language=None)
        else:
            st.caption(_("Não há código para mostrar agora."))
        show_open_access(actor, open_now)


def show_open_access(actor: Actor, access: AccessGrant) -> None:
    """Until when an access is open, and the way to end it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            _("Acesso aberto até {until}. Ele termina sozinho.").format(until=dates.short_time(access.expires_at))
        )
        if st.button(_("Encerrar o acesso"), icon=":material/visibility_off:", key="break_glass_end"):
            with errors.shown():
                break_glass.end_access(actor, access.id)
                st.rerun(scope="fragment")


def offer_access(actor: Actor, user_id: UUID, scope: Scope) -> None:
    """The way to what is a user's own: a reason and minutes."""
    label, promise = {
        Scope.QR: (_("Ver o código"), _("O código é da pessoa. Quem olha escreve por quê; ela vê que isso aconteceu.")),
        Scope.CHATS: (
            _("Ver as conversas"),
            _("As conversas são da pessoa. Quem olha escreve por quê; ela vê que isso aconteceu."),
        ),
    }[scope]
    with st.popover(label, icon=":material/visibility_lock:"), st.form("break_glass", border=False):
        st.write(promise)
        reason = st.text_area(
            _("Motivo"), placeholder=_("Por exemplo: chamado 4711, a pessoa pediu ajuda"), key="break_glass_reason"
        )
        minutes = st.number_input(_("Por quantos minutos?"), 1, MAX_MINUTES, DEFAULT_MINUTES, key="break_glass_minutes")
        if st.form_submit_button(_("Quebrar o vidro"), icon=":material/hardware:"):
            with errors.shown():
                break_glass.grant_access(actor, user_id, scope, reason, int(minutes))
                st.rerun(scope="fragment")


def list_past_accesses(looks: list[AccessGrant]) -> None:
    """What its user is told of who looked."""
    words = {
        Scope.QR: _("Nossa equipe abriu o seu código em {when}. Motivo:"),
        Scope.CHATS: _("Nossa equipe abriu as suas conversas em {when}. Motivo:"),
    }
    for one in looks:
        with st.container(gap=None):
            st.caption(words[one.scope].format(when=dates.short_time(one.started_at)))
            st.text(one.reason)


def list_past_chat_accesses(actor: Actor) -> None:
    """Beside their conversations a user is told who looked at them."""
    list_past_accesses([look for look in break_glass.list_recent_grants(actor) if look.scope is Scope.CHATS])
