"""The management of users: the list, invitations and password resets by one-time link, roles, deactivation.

Only admins change anything. The database checks that itself (app.require_manager), and also that one admin who can
sign in remains. Where `auth.users` belongs to Supabase, users are managed there and only shown here.

A link's token has 256 random bits. Only its hash is stored. It belongs to one user, works once, and expires. Setting a
password with it ends every earlier sign-in of that user.
"""

import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal
from uuid import UUID

from sqlalchemy import Boolean, func, or_, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from services.accounts import credentials, sign_in
from services.accounts.credentials import EmailTaken
from services.db.actor import ANONYMOUS, Actor, Role
from services.db.engine import get_sqlstate, transaction
from services.db.like import contains_pattern
from services.db.rows import read_row, read_rows
from services.db.tables.accounts import accounts, directory
from services.errors import N_, Conflict
from services.platform import rate_limits
from services.security import audit_log

PAGE_SIZE = 50
# Long enough for a weekend, short enough that a forgotten mail is worthless.
LINK_LIFETIMES = {"invite": timedelta(hours=48), "reset": timedelta(hours=1)}
MANAGED_ELSEWHERE_SQLSTATE, LAST_ADMIN_SQLSTATE = "PL001", "PL002"

SortColumn = Literal["email", "name", "role"]


class LastAdmin(Conflict):
    """Nobody could manage the console any more."""

    code = "ultimo_admin"
    message = N_("Esta é a última pessoa da administração que pode entrar.")
    hint = N_("Dê o papel de administração a outra pessoa antes.")


class LinkInvalid(Conflict):
    """A one-time link that is unknown, used or expired."""

    code = "link_invalido"
    message = N_("Este link não vale mais: já foi usado, venceu ou foi trocado por outro.")
    hint = N_("Peça um link novo à administração.")


class UsersManagedElsewhere(Conflict):
    """`auth.users` belongs to somebody else."""

    code = "usuarios_em_outro_lugar"
    message = N_("Os usuários deste banco são gerenciados pelo Supabase.")
    hint = N_("Crie e altere usuários no painel do Supabase.")


class LinkPurpose(StrEnum):
    """What a link is for."""

    INVITE = "invite"  # the first password
    RESET = "reset"  # a new one


@dataclass(frozen=True)
class User:
    """One user as staff see them."""

    user_id: UUID
    email: str
    name: str
    role: Role
    active: bool


@dataclass(frozen=True)
class UsersPage:
    """One page; `total` counts every row that the filter admits."""

    users: list[User]
    total: int


@dataclass(frozen=True)
class Link:
    """A one-time link's secret part, shown once, and when it expires."""

    token: str
    expires_at: datetime


@dataclass(frozen=True)
class Invitation:
    """What a valid link says: whose password may be set, and why."""

    email: str
    purpose: LinkPurpose


def list_users(
    actor: Actor, *, search: str = "", order: SortColumn = "email", descending: bool = False, page: int = 1
) -> UsersPage:
    """One page (50) of all users, for staff; empty for anybody else. `search` finds a part of e-mail or name."""
    active = func.coalesce(accounts.c.active, True, type_=Boolean).label("active")
    texts = (func.coalesce(column, "").label(column.name) for column in (directory.c.email, directory.c.name))
    found = select(
        directory.c.user_id, *texts, directory.c.role, active, func.count().over().label("total")
    ).select_from(directory.outerjoin(accounts, accounts.c.user_id == directory.c.user_id))
    if search.strip():
        pattern = contains_pattern(search)
        found = found.where(or_(directory.c.email.ilike(pattern), directory.c.name.ilike(pattern)))
    key = directory.c[order]
    found = found.order_by(key.desc() if descending else key, directory.c.user_id)
    with transaction(actor) as tx:
        page_rows = tx.execute(found.limit(PAGE_SIZE).offset((page - 1) * PAGE_SIZE)).all()
    return UsersPage(read_rows(User, page_rows), page_rows[0].total if page_rows else 0)


def are_managed_here(actor: Actor) -> bool:
    """Whether users are ours to change; False on Supabase."""
    with transaction(actor) as tx:
        return bool(tx.execute(text("select app.manages_users()")).scalar_one())


def invite(actor: Actor, email: str, name: str, role: Role) -> Link:
    """Create a user without a password, and the link by which they set one. For admins, on the record.

    Raises: InvalidEmail, EmailTaken, Forbidden, UsersManagedElsewhere.
    """
    wanted = credentials.normalise_email(email)
    link, digest = _new_link(LinkPurpose.INVITE)
    values = {"email": wanted, "name": name.strip(), "role": role, "hash": digest, "until": link.expires_at}
    try:
        with _translated_errors(), transaction(actor) as tx:
            made = tx.execute(text("select app.invite_user(:email, :name, :role, :hash, :until)"), values).scalar_one()
            audit_log.record(tx, actor, "user.invite", str(made), role=role)
    except IntegrityError as error:
        raise EmailTaken from error
    return link


def create_reset_link(actor: Actor, user_id: UUID) -> Link:
    """A link by which somebody sets a new password; earlier links of theirs are void. For admins, on the record."""
    link, digest = _new_link(LinkPurpose.RESET)
    values = {"user": user_id, "hash": digest, "until": link.expires_at}
    with _translated_errors(), transaction(actor) as tx:
        tx.execute(text("select app.create_one_time_link(:user, 'reset', :hash, :until)"), values)
        audit_log.record(tx, actor, "user.reset", str(user_id))
    return link


def set_role(actor: Actor, user_id: UUID, role: Role) -> None:
    """Make somebody an admin, an operator or a user. For admins, on the record.

    Raises: LastAdmin.
    """
    with _translated_errors(), transaction(actor) as tx:
        tx.execute(text("select app.set_user_role(:user, :role)"), {"user": user_id, "role": role})
        audit_log.record(tx, actor, "user.role", str(user_id), role=role)


def set_active(actor: Actor, user_id: UUID, on: bool) -> None:
    """Shut somebody out at once, or let them in again. For admins, on the record.

    The worker closes the session of whoever is shut out; what they queued is not sent.

    Raises: LastAdmin.
    """
    with _translated_errors(), transaction(actor) as tx:
        tx.execute(text("select app.set_user_active(:user, :on)"), {"user": user_id, "on": on})
        audit_log.record(tx, actor, "user.activate" if on else "user.deactivate", str(user_id))


def sign_out_everywhere(actor: Actor, user_id: UUID) -> None:
    """End every sign-in of somebody, by staff, on the record."""
    sign_in.sign_out_everywhere(actor, user_id)
    with transaction(actor) as tx:
        audit_log.record(tx, actor, "user.sign_out", str(user_id))


def get_invitation(token: str) -> Invitation:
    """What the link of `token` is for.

    Raises: LinkInvalid for one that is unknown, used or expired.
    """
    with transaction(ANONYMOUS) as tx:
        row = tx.execute(_SELECT_INVITATION, {"hash": _hash_token(token)}).one_or_none()
    if row is None:
        raise LinkInvalid("unknown, used or expired")
    return read_row(Invitation, row)


_SELECT_INVITATION = text("select coalesce(email, '') as email, purpose from app.get_one_time_link(:hash)")


def set_password_by_link(token: str, password: str, ip: str | None = None) -> None:
    """Set the password by a link, which then is void, as is every earlier sign-in of that user.

    Raises: LinkInvalid, RateLimited, and WeakPassword and its like, after which the link still works.
    """
    if ip is not None:
        rate_limits.hit(rate_limits.Limit.SIGN_IN, "ip", ip)
    credentials.check_password(password)
    values = {"hash": _hash_token(token), "password": credentials.hash_password(password)}
    with transaction(ANONYMOUS) as tx:
        done = tx.execute(text("select app.redeem_one_time_link(:hash, :password)"), values).scalar_one()
    if done is None:
        raise LinkInvalid("unknown, used or expired")


@contextmanager
def _translated_errors() -> Iterator[None]:
    """The database's own refusals as errors of ours."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as error:
        state = get_sqlstate(error)
        if state == MANAGED_ELSEWHERE_SQLSTATE:
            raise UsersManagedElsewhere from error
        if state == LAST_ADMIN_SQLSTATE:
            raise LastAdmin from error
        raise


def _new_link(purpose: LinkPurpose) -> tuple[Link, bytes]:
    token = secrets.token_urlsafe(32)
    return Link(token, datetime.now(UTC) + LINK_LIFETIMES[purpose]), _hash_token(token)


def _hash_token(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
