"""The sign-in screen, and who is signed in in this tab."""

import streamlit as st

from services.accounts import sign_in as identity
from services.accounts.sign_in import Account, SignIn, SignInLocked, SignInRefused
from services.errors import ServiceError, Unauthenticated
from ui.kit.i18n import _
from ui.shell import cookie, errors, guard
from ui.shell.authenticator import Authenticator


def get_account() -> Account | None:
    """The person of this tab: signed in in it, or by the cookie with which the browser opened it."""
    found = guard.get_current_account()
    if found is None and guard.SIGN_IN_ENDED not in st.session_state:
        sign_in = cookie.read_sign_in()
        found = identity.get_account(sign_in) if sign_in else None
        if sign_in and found:
            guard.sign_in_tab(sign_in)
    if found:
        _renew_cookie()
    return found


def _renew_cookie() -> None:
    """Whoever comes back in time stays signed in: the browser gets a younger cookie of the same sign-in."""
    longer = identity.renew(st.session_state[guard.SIGN_IN])
    if longer:
        st.session_state[guard.SIGN_IN] = longer
        cookie.request_cookie(longer)


def show_screen() -> None:
    """Draw the form; after a success the app runs anew, signed in."""
    if st.session_state.get(guard.SIGN_IN_ENDED):
        errors.show(Unauthenticated())
    authenticator = Authenticator(guard.client_address())
    refusal: ServiceError | None = None
    fields = {"Form name": _("Entrar"), "Username": _("E-mail"), "Password": _("Senha"), "Login": _("Entrar")}
    if not authenticator.show_form(fields):
        attempt = authenticator.users.attempt
        refusal = (attempt.locked() if attempt else None) or SignInLocked(minutes=1)
    if authenticator.cookies.opened:
        guard.sign_in_tab(authenticator.cookies.opened)
        cookie.request_cookie(authenticator.cookies.opened)
        st.rerun()
    if refusal is None and st.session_state.get("authentication_status") is False:
        refusal = SignInRefused()
    if refusal:
        errors.show(refusal)


def sign_out() -> None:
    """End the sign-in of this tab, and with it those of all tabs of this browser. A button's callback."""
    sign_in = st.session_state.get(guard.SIGN_IN)
    guard.sign_out_tab()
    if isinstance(sign_in, SignIn):
        try:
            identity.sign_out(sign_in)
        except ServiceError as error:
            errors.report(error)  # the browser's cookie goes all the same
    st.session_state[guard.SIGN_IN_ENDED] = False
