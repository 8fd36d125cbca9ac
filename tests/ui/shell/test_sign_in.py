"""The sign-in screen by AppTest, over a real database. What needs a browser is in tests/browser/test_sign_in.py."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from streamlit.testing.v1 import AppTest

from services import settings
from services.accounts import provisioning
from services.accounts.sign_in import SignInLocked, SignInRefused, get_account
from services.db.actor import Role
from tests.support.databases import Database
from ui.shell import guard

MAIN = Path(__file__).parents[3] / "ui" / "main.py"
EMAIL = "ana@example.com"
PASSWORD = "uma senha bem longa"
REFUSED = f"**{SignInRefused.message}** {SignInRefused.hint}"


@pytest.fixture
def ana(database: Database) -> UUID:
    return provisioning.create_user(EMAIL, PASSWORD, Role.USER, "Ana Lima")


@pytest.fixture
def tab(database: Database) -> AppTest:
    return AppTest.from_file(str(MAIN), default_timeout=60).run()


def submit(at: AppTest, email: str, password: str) -> AppTest:
    name, secret = at.text_input
    name.input(email)
    secret.input(password)
    return at.button[0].click().run()


def test_it_asks_in_portuguese_and_names_the_test_server(tab: AppTest) -> None:
    assert [field.label for field in tab.text_input] == ["E-mail", "Senha"]
    assert [button.label for button in tab.button] == ["Entrar"]
    assert "nenhuma mensagem sai de verdade" in tab.info[0].value
    assert not tab.warning


def test_it_signs_in_and_shows_who_is_in(ana: UUID, tab: AppTest) -> None:
    submit(tab, f"  {EMAIL.upper()} ", PASSWORD)
    assert not tab.exception
    assert [text.value for text in tab.sidebar.text] == ["Ana Lima"]
    assert not tab.text_input or "Senha" not in [field.label for field in tab.text_input]
    assert tab.session_state[guard.SIGN_IN].user_id == ana


def test_it_renews_the_cookie_of_somebody_who_comes_back(ana: UUID, tab: AppTest) -> None:
    submit(tab, EMAIL, PASSWORD)
    fresh = tab.session_state[guard.SIGN_IN]
    tab.session_state["cookie_wish"] = None
    tab.run()
    assert tab.session_state["cookie_wish"] is None
    tab.session_state[guard.SIGN_IN] = replace(fresh, expires_at=fresh.expires_at - 3 * 86400)
    tab.run()
    assert tab.session_state[guard.SIGN_IN].expires_at >= fresh.expires_at
    assert tab.session_state["cookie_wish"] is not None


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, "uma senha errada"),
        ("nobody@example.com", PASSWORD),
        (EMAIL, ""),
        ("", PASSWORD),
        ("", ""),
        (EMAIL, "x" * 100),
        (EMAIL, "a\0b"),
        ("'; drop table accounts; --", "x"),
    ],
)
def test_it_refuses_everything_else_with_the_same_words(ana: UUID, tab: AppTest, email: str, password: str) -> None:
    submit(tab, email, password)
    assert not tab.exception
    assert [element.value for element in tab.warning] == [REFUSED]
    assert guard.SIGN_IN not in tab.session_state


@pytest.mark.parametrize("email", [EMAIL, "nobody@example.com"])
def test_it_locks_across_tabs_and_says_how_long(ana: UUID, tab: AppTest, email: str) -> None:
    for _ in range(5):
        submit(tab, email, "uma senha errada")
        assert [element.value for element in tab.warning] == [REFUSED]
    other = AppTest.from_file(str(MAIN), default_timeout=60).run()
    submit(other, email, PASSWORD)
    (warning,) = other.warning
    assert warning.value == f"**{SignInLocked.message}** " + SignInLocked.hint.format(minutes=15)


def test_it_clears_the_count_with_a_success(database: Database, ana: UUID, tab: AppTest) -> None:
    for _ in range(4):
        submit(tab, EMAIL, "uma senha errada")
    submit(tab, EMAIL, PASSWORD)
    assert guard.SIGN_IN in tab.session_state
    rows = database.execute("select failures_recent, locked_until from app.begin_sign_in(%s, null)", EMAIL)
    assert rows == [(0, None)]


def test_it_signs_out_and_leaves_nothing_of_the_person_in_the_tab(ana: UUID, tab: AppTest) -> None:
    submit(tab, EMAIL, PASSWORD)
    sign_in = tab.session_state[guard.SIGN_IN]
    tab.session_state["draft"] = "something that Ana wrote"
    tab.button(key="sign_out").click().run()
    assert [field.label for field in tab.text_input] == ["E-mail", "Senha"]
    assert "draft" not in tab.session_state
    assert guard.SIGN_IN not in tab.session_state
    assert not tab.warning, "who signs out needs no warning that they are out"
    assert get_account(sign_in) is None


def test_it_signs_in_again_in_the_same_tab_time_after_time(ana: UUID, tab: AppTest) -> None:
    for _ in range(3):
        submit(tab, EMAIL, PASSWORD)
        assert guard.SIGN_IN in tab.session_state
        tab.button(key="sign_out").click().run()
        assert guard.SIGN_IN not in tab.session_state


def test_it_puts_no_password_hash_or_key_into_the_page(database: Database, ana: UUID, tab: AppTest) -> None:
    submit(tab, EMAIL, PASSWORD)
    stored = database.one("select encrypted_password from auth.users where id = %s", ana)
    drawn = " ".join(str(element) for element in tab)
    drawn += str(tab.session_state)
    for secret in (stored, PASSWORD, *settings.get().secret_values()):
        assert secret not in drawn
