"""Sign-in: checks a password, locks out after failures, and says who is signed in now.

Whether a sign-in still counts is asked of the database each time. So a deactivation, a new role, a sign-out and a
revocation take effect at the next request.
"""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from math import ceil
from uuid import UUID, uuid4

import bcrypt
from sqlalchemy import text

from services import log
from services.accounts import credentials
from services.accounts.credentials import MAX_EMAIL_LENGTH, MAX_PASSWORD_BYTES, dummy_hash, get_cost
from services.db.actor import ANONYMOUS, Actor, Role, person
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.base import Record
from services.errors import N_, Forbidden, ServiceError, Unauthenticated
from services.platform import rate_limits

SIGN_IN_SECONDS = 7 * 24 * 3600
# Who comes back meanwhile stays signed in, day by day, and gives the password again after this at the latest.
MAX_SIGN_IN_SECONDS = 30 * 24 * 3600
RENEW_AFTER_SECONDS = 24 * 3600


class SignInRefused(ServiceError):
    code = "login_recusado"
    http_status = 401
    message = N_("E-mail ou senha incorretos.")
    hint = N_("Confira os dois e tente de novo.")


class SignInLocked(ServiceError):
    code = "login_bloqueado"
    http_status = 429
    permanent = False
    message = N_("Muitas tentativas de entrada.")
    hint = N_("Espere {minutes} min e tente de novo.")


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
    """One try at signing in, already booked as a failure; `finish_attempt` settles it."""

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


def begin_attempt(email: str, ip: str | None) -> Attempt:
    """Book an attempt for `email` and read what is needed to check its password. Unknown names look like known ones.

    Raises: RateLimited where too many passwords came from `ip`, which is counted only where it is one browser's
        network.
    """
    if ip is not None and _is_public(ip):
        rate_limits.hit(rate_limits.Limit.SIGN_IN, "ip", ip)
    wanted = email.strip().lower()[:MAX_EMAIL_LENGTH].replace("\0", "")
    query = text("select * from app.begin_sign_in(:email, :ip)")
    with transaction(ANONYMOUS) as tx:
        row = tx.execute(query, {"email": wanted, "ip": ip}).one()
    usable = row.active and get_cost(row.password_hash) is not None
    account = Account(person(row.user_id, Role(row.role), row.email), row.name) if usable else None
    return read_row(
        Attempt,
        row,
        attempt_id=row.attempt,
        email=wanted,
        ip=ip,
        password_hash=row.password_hash if usable else dummy_hash(credentials.BCRYPT_COST),
        account=account,
        token_version=row.token_version or 1,
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
    for cost in range(get_cost(attempt.password_hash) or credentials.BCRYPT_COST, credentials.BCRYPT_COST):
        bcrypt.checkpw(typed, dummy_hash(cost).encode())  # cost n, n, n + 1, … 11 add up to 12
    return matches and attempt.account is not None


def finish_attempt(attempt: Attempt, *, succeeded: bool) -> None:
    """Settle a booked attempt: a success clears the failures before it, a failure stays one."""
    account = attempt.account
    values = {
        "attempt": attempt.attempt_id,
        "succeeded": succeeded,
        "who": account.actor.user_id if account else None,
        "request": log.get_request_id(),
    }
    query = text("select app.record_sign_in(:attempt, :succeeded, cast(:who as uuid), cast(:request as text))")
    with transaction(ANONYMOUS) as tx:
        tx.execute(query, values)


def sign_in(email: str, password: str, ip: str | None = None) -> SignIn:
    """Sign in by name and password.

    Raises: SignInRefused (never saying why) or SignInLocked.
    """
    attempt = begin_attempt(email, ip)
    if locked := attempt.locked():
        raise locked
    matches = password_matches(attempt, password)
    finish_attempt(attempt, succeeded=matches)
    if not matches:
        raise SignInRefused
    return sign_in_of_attempt(attempt)


def sign_in_of_attempt(attempt: Attempt) -> SignIn:
    """The sign-in that a successful attempt opens."""
    if attempt.account is None or attempt.account.actor.user_id is None:
        raise SignInRefused
    return _new_sign_in(attempt.account.actor.user_id, attempt.token_version)


def open_sign_in(user_id: UUID) -> SignIn:
    """A new sign-in for a user without asking a password: for tokens that the system hands out, and for tests.

    Raises: Unauthenticated if there is no such active user.
    """
    row = _find_active_user(user_id)
    if row is None:
        raise Unauthenticated
    return _new_sign_in(user_id, row.token_version)


def _new_sign_in(user_id: UUID, token_version: int) -> SignIn:
    now = int(time.time())
    return SignIn(user_id, uuid4(), token_version, now + SIGN_IN_SECONDS, now)


def renew(sign_in: SignIn) -> SignIn | None:
    """The same sign-in, good for seven days from now or until its longest time ends; None where that gains no day."""
    until = min(int(time.time()) + SIGN_IN_SECONDS, sign_in.began + MAX_SIGN_IN_SECONDS)
    return replace(sign_in, expires_at=until) if until - sign_in.expires_at >= RENEW_AFTER_SECONDS else None


def get_account(sign_in: SignIn) -> Account | None:
    """Who that is now, with the role of now; None if expired, signed out, revoked, deactivated, banned or deleted."""
    if sign_in.expires_at <= time.time():
        return None
    row = _find_active_user(sign_in.user_id, sign_in.sign_in_id)
    if row is None or row.token_version != sign_in.token_version:
        return None
    return _build_account(sign_in.user_id, row)


def get_user_account(user_id: UUID) -> Account | None:
    """Who that user is now, whoever vouched for them; None if there is no such active user."""
    row = _find_active_user(user_id)
    return _build_account(user_id, row) if row else None


def _build_account(user_id: UUID, row: Record) -> Account:
    return Account(person(user_id, Role(row.role), row.email or ""), row.name or "")


def _find_active_user(user_id: UUID, sign_in_id: UUID | None = None) -> Record | None:
    """What the database knows of that user, or None if they may not (or, by this sign-in, no longer) come in."""
    query = text("select * from app.get_sign_in(:user_id, cast(:sign_in_id as uuid))")
    with transaction(ANONYMOUS) as tx:
        row = tx.execute(query, {"user_id": user_id, "sign_in_id": sign_in_id}).one_or_none()
    return row if row is not None and row.active else None


def sign_out(sign_in: SignIn) -> None:
    """End one sign-in: its token and every copy of it are worthless from now on."""
    # Another tab may have renewed it: none of its cookies lives longer than this.
    until = datetime.fromtimestamp(sign_in.began + MAX_SIGN_IN_SECONDS, UTC)
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
