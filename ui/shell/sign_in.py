"""The sign-in screen: streamlit-authenticator's form and attempt check over the users in the database.

Some of its parts are replaced (seen in version 0.4.2). Its cookie goes through an iframe and gets lost, has no expiry
and no revocation. Its lock-out forgets with each run. It sleeps 0.7 s a run. It answers a wrong name at once and a
wrong password after a bcrypt check. A password over 72 bytes ends in an exception of bcrypt 5.
"""

from typing import Any

import streamlit as st
import streamlit_authenticator as stauth
from streamlit_authenticator.controllers import AuthenticationController, CookieController
from streamlit_authenticator.models import AuthenticationModel, CookieModel
from streamlit_authenticator.utilities import Encryptor, LoginError, Validator

from services import settings
from services.accounts import sign_in as identity
from services.accounts.sign_in import Account, Attempt, SignIn
from services.errors import ServiceError, SignInLocked, SignInRefused, Unauthenticated
from ui.kit.i18n import _
from ui.shell import cookie, errors, guard

# The form's own threshold is only the door to ours: the database decides who is locked (see Users).
LOCKED = 1_000_000


class Users(dict[str, dict[str, Any]]):
    """The form's `usernames`, filled with the one name that is typed. To the form every name exists."""

    def __init__(self, ip: str | None) -> None:
        super().__init__()
        self.ip = ip
        self.attempt: Attempt | None = None

    def __contains__(self, username: object) -> bool:
        return bool(username)

    def __missing__(self, username: str) -> dict[str, Any]:
        attempt = identity.begin_attempt(username, self.ip)
        self.attempt = attempt
        self[username] = {
            "email": attempt.email,
            "name": attempt.account.name if attempt.account else attempt.email,
            "roles": [str(attempt.account.actor.role)] if attempt.account else [],
            "password": attempt.password_hash,
            "failed_login_attempts": LOCKED if attempt.locked() else attempt.failures_recent,
        }
        return self[username]

    def get(self, username: str, default: Any = None) -> Any:
        return self[username] if username else default


class Model(AuthenticationModel):  # type: ignore[misc]
    """Checks passwords in constant time and keeps the count of failures in the database."""

    def __init__(self, users: Users, key: str) -> None:
        super().__init__({"usernames": {}}, auto_hash=False, secret_key=key)
        self.users = users
        self.credentials = {"usernames": users}

    def login(self, username: str, *args: Any, **kwargs: Any) -> bool | None:
        if not username and not kwargs.get("token"):
            st.session_state["authentication_status"] = False
            return False
        answer: bool | None = super().login(username, *args, **kwargs)
        return answer

    def check_credentials(self, username: str, password: str) -> bool:
        self.users[username]
        matches = self.users.attempt is not None and identity.password_matches(self.users.attempt, password)
        if not matches:
            self._record_failed_login_attempts(username)
        return matches

    def _record_failed_login_attempts(self, username: str, reset: bool = False) -> None:  # noqa: ARG002
        if self.users.attempt is not None:
            identity.finish_attempt(self.users.attempt, succeeded=reset)


class Controller(AuthenticationController):  # type: ignore[misc]
    def __init__(self, users: Users, key: str) -> None:
        self.secret_key = key
        self.validator = Validator()
        self.authentication_model = Model(users, key)
        self.encryptor = Encryptor(key)


class Cookies(CookieModel):  # type: ignore[misc]
    """Remembers only the wish for a cookie; a route of ours sets it (ui/shell/cookie.py)."""

    def __init__(self, users: Users, key: str) -> None:
        self.cookie_name = cookie.COOKIE_NAME
        self.cookie_key = key
        self.cookie_expiry_days = identity.SIGN_IN_SECONDS / 86400
        self.users = users
        self.opened: SignIn | None = None

    def get_cookie(self) -> None:
        """Nothing: `account()` has asked the browser's cookie before the form is drawn."""

    def set_cookie(self) -> None:
        if self.users.attempt is not None:
            self.opened = identity.sign_in_of_attempt(self.users.attempt)

    def delete_cookie(self) -> None:
        cookie.request_removal()


class Cookiejar(CookieController):  # type: ignore[misc]
    def __init__(self, model: Cookies) -> None:
        self.cookie_model = model


class Authenticator(stauth.Authenticate):  # type: ignore[misc]
    """streamlit-authenticator over our database and our cookie. Made anew on each run that shows the form."""

    def __init__(self, ip: str | None) -> None:
        key = settings.get().auth_cookie_key.get_secret_value()
        self.users = Users(ip)
        self.cookies = Cookies(self.users, key)
        self.api_key = None
        self.path = None
        self.attrs = {"login_sleep_time": 0}
        self.secret_key = key
        self.cookie_controller = Cookiejar(self.cookies)
        self.authentication_controller = Controller(self.users, key)
        self.encryptor = Encryptor(key)


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
    try:
        authenticator.login(
            max_login_attempts=LOCKED,
            fields={
                "Form name": _("Entrar"),
                "Username": _("E-mail"),
                "Password": _("Senha"),
                "Login": _("Entrar"),
            },
            key="sign_in_form",
        )
    except LoginError:
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
