"""The rules for e-mail addresses and passwords, and the hashing of passwords."""

import functools
import secrets

import bcrypt

from services.errors import (
    N_,
    Conflict,
    InvalidInput,
)

BCRYPT_COST = 12
MIN_PASSWORD_LENGTH = 10
# bcrypt takes no more (bcrypt 5 raises, older ones cut silently).
MAX_PASSWORD_BYTES = 72
MAX_EMAIL_LENGTH = 254


class WeakPassword(InvalidInput):
    code = "senha_curta"
    message = N_("A senha precisa ter pelo menos {limit} caracteres.")
    hint = N_("Escolha uma senha mais longa.")


class PasswordTooLong(InvalidInput):
    code = "senha_longa"
    message = N_("A senha passa de {limit} bytes.")
    hint = N_("Escolha uma senha mais curta; letras acentuadas e emojis contam mais de um byte.")


class PasswordWithOuterSpaces(InvalidInput):
    code = "senha_com_espacos"
    message = N_("A senha não pode começar nem terminar com espaço.")
    hint = N_("Tire os espaços do começo e do fim.")


class InvalidEmail(InvalidInput):
    code = "email_invalido"
    message = N_("Esse e-mail não é válido.")
    hint = N_("Confira o endereço, por exemplo nome@empresa.com.br.")


class EmailTaken(Conflict):
    code = "email_em_uso"
    message = N_("Já existe um usuário com esse e-mail.")
    hint = N_("Use outro e-mail.")


def hash_password(password: str) -> str:
    """bcrypt `$2b$12$…`, as `auth.users.encrypted_password` takes it."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_COST)).decode()


def normalise_email(email: str) -> str:
    """The address as it is stored.

    Raises: InvalidEmail.
    """
    wanted = email.strip().lower()
    local, at, domain = wanted.partition("@")
    if not (local and at and domain) or "@" in domain or len(wanted) > MAX_EMAIL_LENGTH or not wanted.isprintable():
        raise InvalidEmail
    if " " in wanted:
        raise InvalidEmail
    return wanted


def check_password(password: str) -> None:
    """Refuse a password that nobody may set.

    Raises: WeakPassword, PasswordTooLong or PasswordWithOuterSpaces.
    """
    if password != password.strip():
        raise PasswordWithOuterSpaces  # the sign-in form strips what is typed: it could never match
    if len(password) < MIN_PASSWORD_LENGTH:
        raise WeakPassword(limit=MIN_PASSWORD_LENGTH)
    if len(password.encode()) > MAX_PASSWORD_BYTES or "\0" in password:
        raise PasswordTooLong(limit=MAX_PASSWORD_BYTES)


def get_cost(password_hash: str | None) -> int | None:
    """The cost of a bcrypt hash that we can check, else None."""
    parts = (password_hash or "").split("$")
    if len(parts) != 4 or parts[1] not in ("2a", "2b", "2y") or len(parts[3]) != 53 or not parts[2].isdigit():
        return None
    return int(parts[2])


@functools.cache
def dummy_hash(cost: int) -> str:
    """A hash that no password matches for long enough to matter: of 256 random bits, made once per process."""
    return bcrypt.hashpw(secrets.token_bytes(32).hex().encode(), bcrypt.gensalt(cost)).decode()
