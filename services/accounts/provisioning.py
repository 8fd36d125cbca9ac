"""Creates users over the database owner's connection, for `manage.py` and the first start."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import structlog
from psycopg import sql
from psycopg.types.json import Jsonb

from services import log, settings
from services.accounts.credentials import EmailTaken, check_password, hash_password, normalise_email
from services.db.actor import Role
from services.db.engine import CONNECT_TIMEOUT_SECONDS, psycopg_url
from services.errors import (
    ConfigurationError,
    DatabaseUnavailable,
)
from services.settings import Settings

logger = structlog.get_logger(__name__)


def create_user(email: str, password: str, role: Role, name: str = "", *, database_url: str | None = None) -> UUID:
    """Create a user, over the owner's DATABASE_URL (for `manage.py`, not for a page). Returns the user's id.

    Raises: InvalidEmail, WeakPassword, PasswordTooLong, PasswordWithOuterSpaces, EmailTaken, DatabaseUnavailable.
    """
    wanted = normalise_email(email)
    check_password(password)
    with _owner_connection(database_url) as tx:
        return _insert_user(tx, wanted, password, role, name)


def create_first_admin(configured: Settings) -> tuple[str, str | None] | None:
    """On an empty `auth.users`, create the first admin; None where there are users.

    Returns the e-mail and the password if it was made here (None if `ADMIN_PASSWORD` gave it). Several starters at
    once make one admin.
    """
    given = configured.auth.admin_password.get_secret_value() if configured.auth.admin_password else None
    generated = None if given else secrets.token_urlsafe(12)
    password = given or generated or ""
    email = normalise_email(configured.auth.admin_email)
    check_password(password)
    with _owner_connection(configured.database.url.get_secret_value() if configured.database.url else None) as tx:
        tx.execute("select pg_advisory_xact_lock(hashtext('plushify-first-admin'))")
        if tx.execute("select from auth.users limit 1").fetchone() is not None:
            return None
        _insert_user(tx, email, password, Role.ADMIN, "")
    return email, generated


@contextmanager
def _owner_connection(database_url: str | None) -> Iterator[psycopg.Connection[Any]]:
    configured = settings.get().database.url
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
        ["owner", "user.create", str(user_id), Jsonb({"role": str(role)}), log.get_request_id()],
    )
    logger.info("user_created", user_id=str(user_id), role=str(role))
    return user_id
