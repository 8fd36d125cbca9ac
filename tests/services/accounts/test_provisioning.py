"""Accounts made: what passwords and addresses may be, and the first admin."""

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import bcrypt
import pytest

from services import settings
from services.accounts import credentials, provisioning
from services.accounts import sign_in as identity
from services.accounts.sign_in import SignInRefused
from services.db.actor import Role
from services.errors import InvalidInput
from tests.support.accounts import EMAIL, PASSWORD
from tests.support.databases import Database


@pytest.mark.parametrize(
    ("password", "error"),
    [
        ("curta", credentials.WeakPassword),
        ("x" * 9, credentials.WeakPassword),
        ("x" * 73, credentials.PasswordTooLong),
        ("ç" * 37, credentials.PasswordTooLong),
        (" com espaço antes", credentials.PasswordWithOuterSpaces),
        ("com espaço depois ", credentials.PasswordWithOuterSpaces),
    ],
)
def test_it_refuses_passwords_that_sign_in_would_cut_or_that_are_short(
    database: Database, password: str, error: type[InvalidInput]
) -> None:
    with pytest.raises(error) as caught:
        provisioning.create_user(EMAIL, password, Role.USER)
    assert caught.value.sentence()
    assert password.strip() not in str(caught.value)


def test_it_takes_passwords_up_to_the_very_limits(database: Database) -> None:
    for number, password in enumerate(("x" * 10, "x" * 72, "ç" * 36)):
        provisioning.create_user(f"p{number}@example.com", password, Role.USER)
        assert identity.sign_in(f"p{number}@example.com", password)
    with pytest.raises(SignInRefused):
        identity.sign_in("p1@example.com", "x" * 73)


@pytest.mark.parametrize(
    "email", ["", "ana", "@x.com", "ana@", "a@b@c.com", "a b@c.com", "a@c.com\n", "x" * 250 + "@c.com"]
)
def test_it_refuses_what_is_no_email(database: Database, email: str) -> None:
    if email.strip() == "a@c.com":
        assert provisioning.create_user(email, PASSWORD, Role.USER)
    else:
        with pytest.raises(credentials.InvalidEmail):
            provisioning.create_user(email, PASSWORD, Role.USER)


def test_it_makes_no_second_user_of_the_same_email(ana: UUID) -> None:
    with pytest.raises(credentials.EmailTaken):
        provisioning.create_user(EMAIL.upper(), PASSWORD, Role.ADMIN)


@pytest.mark.usefixtures("real_password_hashing")
def test_it_hashes_with_bcrypt_at_cost_12(database: Database, ana: UUID) -> None:
    stored = database.one("select encrypted_password from auth.users where id = %s", ana)
    assert stored.startswith("$2b$12$")
    assert bcrypt.checkpw(PASSWORD.encode(), stored.encode())


def test_it_makes_the_first_admin_once_however_many_start_at_once(database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = [
            found for found in pool.map(lambda _: provisioning.create_first_admin(settings.get()), range(4)) if found
        ]
    assert len(made) == 1
    email, password = made[0]
    assert password is not None
    account = identity.get_account(identity.sign_in(email, password))
    assert account is not None
    assert account.actor.role is Role.ADMIN


def test_it_makes_the_first_admin_of_the_settings(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADMIN_EMAIL", "Chefe@Example.com")
    monkeypatch.setenv("ADMIN_PASSWORD", PASSWORD)
    settings.get.cache_clear()
    assert provisioning.create_first_admin(settings.get()) == ("chefe@example.com", None)
    assert identity.sign_in("chefe@example.com", PASSWORD)
    assert provisioning.create_first_admin(settings.get()) is None
