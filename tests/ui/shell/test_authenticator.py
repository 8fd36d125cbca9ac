"""What the sign-in form needs of streamlit-authenticator: still there, and still enough."""

from streamlit_authenticator import Authenticate
from streamlit_authenticator.controllers import AuthenticationController
from streamlit_authenticator.models import AuthenticationModel

from tests.support.library_parts import assert_asks_only, assert_takes

ADAPTER = ("streamlit-authenticator", "ui/shell/authenticator.py")


def test_the_library_still_calls_what_is_replaced() -> None:
    assert_takes(*ADAPTER, AuthenticationModel.check_credentials, "self", "username", "password")
    assert_takes(
        *ADAPTER, AuthenticationModel.login,
        "self", "username", "password", "max_concurrent_users", "max_login_attempts", "token", "single_session",
        "callback",
    )  # fmt: skip


def test_the_library_still_asks_our_objects_for_nothing_that_they_have_not() -> None:
    # `secret_key` and `_check_captcha` only for a captcha, which is not asked for.
    parts = ("attrs", "path", "cookie_controller", "authentication_controller", "secret_key")
    assert_asks_only(*ADAPTER, Authenticate.login, *parts)
    assert_asks_only(*ADAPTER, AuthenticationController.login, "authentication_model", "_check_captcha")
