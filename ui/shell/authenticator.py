"""streamlit-authenticator's form and attempt check over the users in the database and a cookie of ours.

Some of its parts are replaced (seen in version 0.4.2). Its cookie goes through an iframe and gets lost, has no expiry
and no revocation. Its lock-out forgets with each run. It sleeps 0.7 s a run. It answers a wrong name at once and a
wrong password after a bcrypt check. A password over 72 bytes ends in an exception of bcrypt 5.

Replacing them takes what it does not document: that `Authenticate.login` needs `attrs`, `path`, `cookie_controller` and
`authentication_controller` and nothing else of the object, `AuthenticationController.login` only
`authentication_model`, and that `AuthenticationModel.login` asks `credentials` and its own `check_credentials`. The
constructors of the first two are left out: they would draw that iframe. tests/ui/shell/test_authenticator.py fails
where a version works in another way.
"""

from typing import Any

import streamlit as st
import streamlit_authenticator as stauth
from streamlit_authenticator.controllers import AuthenticationController
from streamlit_authenticator.models import AuthenticationModel
from streamlit_authenticator.utilities import LoginError

from services.accounts import sign_in as identity
from services.accounts.sign_in import Attempt, SignIn

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

    def __init__(self, users: Users) -> None:
        super().__init__({"usernames": {}}, auto_hash=False)
        self.users = users
        self.credentials = {"usernames": users}

    def login(self, username: str, *args: Any, **kwargs: Any) -> bool:
        if not username:
            st.session_state["authentication_status"] = False
            return False
        matches = bool(super().login(username, *args, **kwargs))
        if matches:
            self._finish_attempt(succeeded=True)
        return matches

    def check_credentials(self, username: str, password: str) -> bool:
        self.users[username]
        matches = self.users.attempt is not None and identity.password_matches(self.users.attempt, password)
        if not matches:
            self._finish_attempt(succeeded=False)
        return matches

    def _finish_attempt(self, *, succeeded: bool) -> None:
        if self.users.attempt is not None:
            identity.finish_attempt(self.users.attempt, succeeded=succeeded)


class Controller(AuthenticationController):  # type: ignore[misc]
    """Tidies what was typed and hands it to our model."""

    def __init__(self, users: Users) -> None:
        self.authentication_model = Model(users)


class Cookies:
    """In the place of the form's `CookieController`: remembers only the wish for a cookie (see ui/shell/cookie.py)."""

    def __init__(self, users: Users) -> None:
        self.users = users
        self.opened: SignIn | None = None

    def get_cookie(self) -> None:
        """Nothing: the browser's cookie has been asked before the form is drawn."""

    def set_cookie(self) -> None:
        if self.users.attempt is not None:
            self.opened = identity.sign_in_of_attempt(self.users.attempt)


class Authenticator(stauth.Authenticate):  # type: ignore[misc]
    """streamlit-authenticator over our database and our cookie. Made anew on each run that shows the form."""

    def __init__(self, ip: str | None) -> None:
        self.users = Users(ip)
        self.cookies = Cookies(self.users)
        self.path = None
        self.attrs = {"login_sleep_time": 0}
        self.cookie_controller = self.cookies
        self.authentication_controller = Controller(self.users)

    def show_form(self, fields: dict[str, str]) -> bool:
        """Draw the form and try what was sent with it; False where nobody may try that name now.

        `fields`: the form's own names of its texts, and ours.
        """
        try:
            self.login(max_login_attempts=LOCKED, fields=fields, key="sign_in_form")
        except LoginError:
            return False
        return True
