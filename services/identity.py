"""Who is signed in: users of `auth.users`, sign-in with lock-out, and the tokens that the cookie carries.

A token (JWT, HS256 with `AUTH_COOKIE_KEY`) only says which sign-in it belongs to. Whether that still counts is asked of
the database each time, so that a deactivation, a new role, a sign-out and a revocation all hold from the next look on.
"""

import functools
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address
from math import ceil
from typing import Any
from uuid import UUID, uuid4

import bcrypt
import jwt
import psycopg
import structlog
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import text

from services import limits, log, settings
from services.db.actor import ANONYMOUS, Actor, Role, person
from services.db.engine import CONNECT_TIMEOUT_SECONDS, psycopg_url, transaction
from services.errors import (
    N_,
    ConfigurationError,
    Conflict,
    DatabaseUnavailable,
    Forbidden,
    InvalidInput,
    SignInLocked,
    SignInRefused,
    Unauthenticated,
)
from services.settings import Settings

logger = structlog.get_logger(__name__)

TOKEN_SECONDS = 7 * 24 * 3600
# Who comes back meanwhile stays signed in, day by day, and gives the password again after this at the latest.
LONGEST_SECONDS = 30 * 24 * 3600
RENEWED_AFTER_SECONDS = 24 * 3600
# A ticket only crosses from the page to the cookie route, in the page's own source: it must be worthless soon after.
TICKET_SECONDS = 60
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


class TokenKind(StrEnum):
    """What a token is good for: one kind is never accepted as the other."""

    COOKIE = "cookie"
    TICKET = "ticket"


@dataclass(frozen=True)
class SignIn:
    """One sign-in of one person in one browser. `expires_at` and `began` (the password was given) in Unix seconds."""

    user_id: UUID
    sign_in_id: UUID
    token_version: int
    expires_at: int
    began: int


@dataclass(frozen=True)
class Account:
    """A signed-in person as the database knows them now."""

    actor: Actor
    name: str


@dataclass(frozen=True)
class Attempt:
    """One try at signing in, already booked as a failure; `finish` settles it."""

    attempt_id: int | None
    email: str
    ip: str | None
    password_hash: str
    account: Account | None
    token_version: int
    failures_recent: int
    locked_until: datetime | None

    def locked(self) -> SignInLocked | None:
        """The error to show while the name (known or not) or the address is locked out."""
        if self.locked_until is None:
            return None
        seconds = (self.locked_until - datetime.now(UTC)).total_seconds()
        return SignInLocked(minutes=max(1, ceil(seconds / 60)))


# --- signing in ---------------------------------------------------------------------------------------------------


def begin(email: str, ip: str | None) -> Attempt:
    """Book an attempt for `email` and read what is needed to check its password. Unknown names look like known ones.

    Raises RateLimited where too many passwords came from `ip`, which is counted only where it is one browser's network.
    """
    if ip is not None and _is_public(ip):
        limits.check(limits.Door.SIGN_IN, "ip", ip)
    wanted = email.strip().lower()[:MAX_EMAIL_LENGTH].replace("\0", "")
    query = text("select * from app.sign_in_lookup(:email, :ip)")
    with transaction(ANONYMOUS) as tx:
        row = tx.execute(query, {"email": wanted, "ip": ip}).one()
    usable = row.active and _cost(row.password_hash) is not None
    account = Account(person(row.user_id, Role(row.role), row.email), row.name) if usable else None
    return Attempt(
        attempt_id=row.attempt,
        email=wanted,
        ip=ip,
        password_hash=row.password_hash if usable else _dummy_hash(BCRYPT_COST),
        account=account,
        token_version=row.token_version or 1,
        failures_recent=row.failures_recent,
        locked_until=row.locked_until,
    )


def _is_public(ip: str) -> bool:
    """A private address may well be a proxy's, and then everybody's."""
    try:
        return ip_address(ip).is_global
    except ValueError:
        return False


def password_matches(attempt: Attempt, password: str) -> bool:
    """Check the password of an attempt that is not locked. Takes as long for an unknown name, an inactive user and a
    hash of a lower cost (Supabase makes them with 10) as for our own."""
    typed = password.encode()
    if len(typed) > MAX_PASSWORD_BYTES or b"\0" in typed:
        typed = b""
    matches = bcrypt.checkpw(typed, attempt.password_hash.encode())
    for cost in range(_cost(attempt.password_hash) or BCRYPT_COST, BCRYPT_COST):
        bcrypt.checkpw(typed, _dummy_hash(cost).encode())  # cost n, n, n + 1, … 11 add up to 12
    return matches and attempt.account is not None


def finish(attempt: Attempt, *, succeeded: bool) -> None:
    """Settle a booked attempt: a success clears the failures before it, a failure stays one."""
    account = attempt.account
    values = {
        "attempt": attempt.attempt_id,
        "succeeded": succeeded,
        "who": account.actor.user_id if account else None,
        "request": log.request_id(),
    }
    query = text("select app.sign_in_record(:attempt, :succeeded, cast(:who as uuid), cast(:request as text))")
    with transaction(ANONYMOUS) as tx:
        tx.execute(query, values)


def sign_in(email: str, password: str, ip: str | None = None) -> SignIn:
    """Sign in by name and password. Raises SignInRefused (never saying why) or SignInLocked."""
    attempt = begin(email, ip)
    if locked := attempt.locked():
        raise locked
    matches = password_matches(attempt, password)
    finish(attempt, succeeded=matches)
    if not matches:
        raise SignInRefused
    return opened(attempt)


def opened(attempt: Attempt) -> SignIn:
    """The sign-in that a successful attempt opens."""
    if attempt.account is None or attempt.account.actor.user_id is None:
        raise SignInRefused
    return _new_sign_in(attempt.account.actor.user_id, attempt.token_version)


def open_sign_in(user_id: UUID) -> SignIn:
    """A new sign-in for a user without asking a password: for tokens that the system hands out, and for tests.

    Raises Unauthenticated if there is no such active user.
    """
    row = _active(user_id)
    if row is None:
        raise Unauthenticated
    return _new_sign_in(user_id, row.token_version)


def _new_sign_in(user_id: UUID, token_version: int) -> SignIn:
    now = int(time.time())
    return SignIn(user_id, uuid4(), token_version, now + TOKEN_SECONDS, now)


# --- still signed in? ---------------------------------------------------------------------------------------------


def renewed(sign_in: SignIn) -> SignIn | None:
    """The same sign-in, good for seven days from now or until its longest time ends; None where that gains no day."""
    until = min(int(time.time()) + TOKEN_SECONDS, sign_in.began + LONGEST_SECONDS)
    return replace(sign_in, expires_at=until) if until - sign_in.expires_at >= RENEWED_AFTER_SECONDS else None


def account_of(sign_in: SignIn) -> Account | None:
    """Who that is now, with the role of now; None if expired, signed out, revoked, deactivated, banned or deleted."""
    if sign_in.expires_at <= time.time():
        return None
    row = _active(sign_in.user_id, sign_in.sign_in_id)
    if row is None or row.token_version != sign_in.token_version:
        return None
    return _account(sign_in.user_id, row)


def account_for(user_id: UUID) -> Account | None:
    """Who that user is now, whoever vouched for them; None if there is no such active user."""
    row = _active(user_id)
    return _account(user_id, row) if row else None


def _account(user_id: UUID, row: Any) -> Account:
    return Account(person(user_id, Role(row.role), row.email or ""), row.name or "")


def _active(user_id: UUID, sign_in_id: UUID | None = None) -> Any:
    """What the database knows of that user, or None if they may not (or, by this sign-in, no longer) come in."""
    query = text("select * from app.session_lookup(:user_id, cast(:sign_in_id as uuid))")
    with transaction(ANONYMOUS) as tx:
        row = tx.execute(query, {"user_id": user_id, "sign_in_id": sign_in_id}).one_or_none()
    return row if row is not None and row.active else None


def sign_out(sign_in: SignIn) -> None:
    """End one sign-in: its token and every copy of it are worthless from now on."""
    # Another tab may have renewed it: none of its cookies lives longer than this.
    until = datetime.fromtimestamp(sign_in.began + LONGEST_SECONDS, UTC)
    with transaction(ANONYMOUS) as tx:
        tx.execute(text("select app.sign_out(:id, :until)"), {"id": sign_in.sign_in_id, "until": until})


def sign_out_everywhere(actor: Actor, user_id: UUID | None = None) -> None:
    """End every sign-in of the actor, or of `user_id` if the actor is staff (the database refuses it to others)."""
    wanted = user_id or actor.user_id
    if wanted is None:
        raise Unauthenticated
    if wanted != actor.user_id and not actor.is_staff:
        raise Forbidden
    with transaction(actor) as tx:
        tx.execute(text("select app.revoke_tokens(:user_id)"), {"user_id": wanted})


# --- tokens -------------------------------------------------------------------------------------------------------


def issue_token(actor: Actor) -> str:
    """A cookie token of a new sign-in of `actor`, good for seven days. Raises Unauthenticated for anybody else."""
    if actor.user_id is None:
        raise Unauthenticated
    return token_of(open_sign_in(actor.user_id))


def verify_token(token: str) -> Actor | None:
    """Whose cookie token that is, or None: forged, malformed, expired, signed out, revoked and inactive alike."""
    sign_in = read_token(token)
    account = account_of(sign_in) if sign_in else None
    return account.actor if account else None


def token_of(sign_in: SignIn, kind: TokenKind = TokenKind.COOKIE) -> str:
    """The token that carries a sign-in: the cookie's, or a ticket with which a page may fetch its cookie."""
    now = int(time.time())
    expires = sign_in.expires_at if kind is TokenKind.COOKIE else min(now + TICKET_SECONDS, sign_in.expires_at)
    claims = {
        "sub": str(sign_in.user_id),
        "jti": str(sign_in.sign_in_id),
        "iat": now,
        "auth_time": sign_in.began,
        "exp": expires,
        "aud": str(kind),
        "token_version": sign_in.token_version,
    }
    return jwt.encode(claims, _key(), algorithm="HS256")


def read_token(token: str, kind: TokenKind = TokenKind.COOKIE) -> SignIn | None:
    """The sign-in in a token that we signed and that has not expired. It may have been revoked: ask `account_of`."""
    try:
        claims = jwt.decode(
            token,
            _key(),
            algorithms=["HS256"],
            audience=str(kind),
            options={"require": ["sub", "jti", "iat", "exp", "aud"]},
        )
        began = claims.get("auth_time", claims["iat"])  # older cookies were never renewed
        return SignIn(
            UUID(claims["sub"]), UUID(claims["jti"]), int(claims["token_version"]), int(claims["exp"]), int(began)
        )
    except (jwt.PyJWTError, ValueError, KeyError, TypeError):
        return None


def redeem_ticket(ticket: str) -> str | None:
    """The cookie token for a ticket that is fresh and whose sign-in still counts."""
    read = read_token(ticket, TokenKind.TICKET)
    if read is None or account_of(read) is None:
        return None
    until = min(read.expires_at - TICKET_SECONDS + TOKEN_SECONDS, read.began + LONGEST_SECONDS)
    return token_of(replace(read, expires_at=until))


def _key() -> str:
    return settings.get().auth_cookie_key.get_secret_value()


# --- users, made by the owner of the database ---------------------------------------------------------------------


def create_user(email: str, password: str, role: Role, name: str = "", *, database_url: str | None = None) -> UUID:
    """Create a user, over the owner's DATABASE_URL (for `manage.py`, not for a page). Returns the user's id.

    Raises InvalidEmail, WeakPassword, PasswordTooLong, PasswordWithOuterSpaces, EmailTaken, DatabaseUnavailable.
    """
    wanted = checked_email(email)
    check_password(password)
    with _owner(database_url) as tx:
        return _insert_user(tx, wanted, password, role, name)


def first_admin(configured: Settings) -> tuple[str, str | None] | None:
    """On an empty `auth.users`, create the first admin; None where there are users.

    Returns the e-mail and the password if it was made here (None if `ADMIN_PASSWORD` gave it). Several starters at
    once make one admin.
    """
    given = configured.admin_password.get_secret_value() if configured.admin_password else None
    generated = None if given else secrets.token_urlsafe(12)
    password = given or generated or ""
    email = checked_email(configured.admin_email)
    check_password(password)
    with _owner(configured.database_url.get_secret_value() if configured.database_url else None) as tx:
        tx.execute("select pg_advisory_xact_lock(hashtext('plushify-first-admin'))")
        if tx.execute("select from auth.users limit 1").fetchone() is not None:
            return None
        _insert_user(tx, email, password, Role.ADMIN, "")
    return email, generated


def hash_password(password: str) -> str:
    """bcrypt `$2b$12$…`, as `auth.users.encrypted_password` takes it."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(BCRYPT_COST)).decode()


def checked_email(email: str) -> str:
    """The address as it is stored. Raises InvalidEmail."""
    wanted = email.strip().lower()
    local, at, domain = wanted.partition("@")
    if not (local and at and domain) or "@" in domain or len(wanted) > MAX_EMAIL_LENGTH or not wanted.isprintable():
        raise InvalidEmail
    if " " in wanted:
        raise InvalidEmail
    return wanted


def check_password(password: str) -> None:
    """Raises WeakPassword, PasswordTooLong or PasswordWithOuterSpaces for one that nobody may set."""
    if password != password.strip():
        raise PasswordWithOuterSpaces  # the sign-in form strips what is typed: it could never match
    if len(password) < MIN_PASSWORD_LENGTH:
        raise WeakPassword(limit=MIN_PASSWORD_LENGTH)
    if len(password.encode()) > MAX_PASSWORD_BYTES or "\0" in password:
        raise PasswordTooLong(limit=MAX_PASSWORD_BYTES)


@contextmanager
def _owner(database_url: str | None) -> Iterator[psycopg.Connection[Any]]:
    configured = settings.get().database_url
    url = database_url or (configured.get_secret_value() if configured else "")
    if not url:
        raise ConfigurationError("DATABASE_URL is missing")
    try:
        with psycopg.connect(psycopg_url(url), connect_timeout=CONNECT_TIMEOUT_SECONDS) as tx:
            yield tx
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(type(error).__name__) from error


# What Supabase's own sign-in needs beside our columns: it cannot read a row where these are null. Set where they exist.
_SUPABASE_COLUMNS = {
    "instance_id": "00000000-0000-0000-0000-000000000000",
    "aud": "authenticated",
    "role": "authenticated",
    "email_confirmed_at": "now",
    "confirmation_token": "",
    "recovery_token": "",
    "email_change": "",
    "email_change_token_new": "",
    "email_change_token_current": "",
    "phone_change": "",
    "phone_change_token": "",
    "reauthentication_token": "",
}


def _insert_user(tx: psycopg.Connection[Any], email: str, password: str, role: Role, name: str) -> UUID:
    # One at a time, because a Supabase index on the e-mail may be partial.
    tx.execute("select pg_advisory_xact_lock(hashtext('plushify-create-user'))")
    taken = "select 1 from auth.users where lower(email::text) = %s and deleted_at is null"
    if tx.execute(taken, [email]).fetchone():
        raise EmailTaken
    user_id = uuid4()
    values: dict[str, Any] = {
        "id": user_id,
        "email": email,
        "encrypted_password": hash_password(password),
        "raw_app_meta_data": Jsonb({"provider": "email", "providers": ["email"], "role": str(role)}),
        "raw_user_meta_data": Jsonb({"name": name} if name else {}),
        "created_at": "now",
        "updated_at": "now",
    }
    found = tx.execute(
        "select attname from pg_attribute where attrelid = 'auth.users'::regclass and attnum > 0 and not attisdropped"
        " and attgenerated = ''"
    )
    values |= {column: _SUPABASE_COLUMNS[column] for (column,) in found if column in _SUPABASE_COLUMNS}
    tx.execute(
        sql.SQL("insert into auth.users ({}) values ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join([sql.Placeholder()] * len(values)),
        ),
        list(values.values()),
    )
    tx.execute("insert into public.accounts (user_id, name) values (%s, %s)", [user_id, name or None])
    tx.execute(
        "insert into public.audit_log (actor_role, action, subject, detail, request_id) values (%s, %s, %s, %s, %s)",
        ["owner", "user.create", str(user_id), Jsonb({"role": str(role)}), log.request_id()],
    )
    logger.info("user_created", user_id=str(user_id), role=str(role))
    return user_id


def _cost(password_hash: str | None) -> int | None:
    """The cost of a bcrypt hash that we can check, else None."""
    parts = (password_hash or "").split("$")
    if len(parts) != 4 or parts[1] not in ("2a", "2b", "2y") or len(parts[3]) != 53 or not parts[2].isdigit():
        return None
    return int(parts[2])


@functools.cache
def _dummy_hash(cost: int) -> str:
    """A hash that no password matches for long enough to matter: of 256 random bits, made once per process."""
    return bcrypt.hashpw(secrets.token_bytes(32).hex().encode(), bcrypt.gensalt(cost)).decode()
