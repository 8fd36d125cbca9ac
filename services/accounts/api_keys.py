"""API keys: with a key a program acts as the user who created it, within the key's scopes.

A key has 256 random bits after `plk_`. It is shown once. Its SHA-256 is stored, and nobody may read that.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import func, insert, select, text, update

from services.db.actor import ANONYMOUS, Actor, Role, person
from services.db.engine import transaction
from services.db.rows import read_row, read_rows
from services.db.tables.accounts import api_keys
from services.errors import N_, InvalidInput, NotFound
from services.security import audit_log

KEY_PREFIX = "plk_"
SECRET_BYTES = 32
SHOWN_PREFIX_LENGTH = 10
MAX_NAME_LENGTH = 80
# More than that is a program that makes keys, not a person.
MAX_KEYS_PER_USER = 50


class Scope(StrEnum):
    """What a key is good for."""

    READ = "read"  # the session's state, messages and what becomes of them
    SEND = "send"  # queue messages
    SESSION = "session"  # connect, reconnect, disconnect


class IncompleteKey(InvalidInput):
    code = "chave_incompleta"
    message = N_("A chave precisa de um nome de até {limit} caracteres e de ao menos uma permissão.")
    hint = N_("Preencha os dois e tente de novo.")


class ExpiresInThePast(InvalidInput):
    code = "validade_passada"
    message = N_("A validade da chave já passou.")
    hint = N_("Escolha uma data no futuro.")


class TooManyKeys(InvalidInput):
    code = "chaves_demais"
    message = N_("Você já tem {limit} chaves ativas.")
    hint = N_("Revogue as que não usa e tente de novo.")


@dataclass(frozen=True)
class ApiKey:
    """A key as its owner sees it, never the secret. `prefix` is how it begins."""

    id: UUID
    user_id: UUID
    name: str
    scopes: frozenset[Scope]
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None

    @property
    def usable(self) -> bool:
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > datetime.now(UTC))


@dataclass(frozen=True)
class NewApiKey:
    """A key just made. `secret` is what the machine presents; nobody can read it again."""

    key: ApiKey
    secret: str


@dataclass(frozen=True)
class KeyHolder:
    """For whom a presented key speaks, as an ordinary user, and how far."""

    actor: Actor
    scopes: frozenset[Scope]
    key_id: UUID


def create(actor: Actor, name: str, scopes: frozenset[Scope], expires_at: datetime | None = None) -> NewApiKey:
    """Make a key that speaks for the actor.

    Raises: IncompleteKey, ExpiresInThePast, TooManyKeys or Forbidden.
    """
    user_id = actor.require_user("only a signed-in user has keys")
    wanted = name.strip()
    if not 0 < len(wanted) <= MAX_NAME_LENGTH or not wanted.isprintable() or not scopes:
        raise IncompleteKey(limit=MAX_NAME_LENGTH)
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise ExpiresInThePast
    secret = KEY_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    with transaction(actor) as tx:
        active = select(func.count()).where(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
        if tx.execute(active).scalar_one() >= MAX_KEYS_PER_USER:
            raise TooManyKeys(limit=MAX_KEYS_PER_USER)
        row = tx.execute(
            insert(api_keys)
            .values(
                user_id=user_id,
                name=wanted,
                scopes=sorted(scopes),
                prefix=secret[:SHOWN_PREFIX_LENGTH],
                secret_hash=_hash_secret(secret),
                expires_at=expires_at,
            )
            .returning(*_COLUMNS)
        ).one()
        audit_log.record(tx, actor, "key.create", str(row.id), name=wanted, scopes=sorted(scopes))
    return NewApiKey(read_row(ApiKey, row), secret)


def list_keys(actor: Actor) -> list[ApiKey]:
    """The actor's own keys, newest first; those taken back come last."""
    with transaction(actor) as tx:
        rows = tx.execute(
            select(*_COLUMNS)
            .where(api_keys.c.user_id == actor.user_id)
            .order_by(api_keys.c.revoked_at.is_not(None), api_keys.c.created_at.desc())
        ).all()
    return read_rows(ApiKey, rows)


def revoke(actor: Actor, key_id: UUID) -> None:
    """Take a key back for good: the actor's own, or as staff anybody's.

    Raises: NotFound where there is no such one.
    """
    with transaction(actor) as tx:
        done = tx.execute(
            update(api_keys)
            .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            .values(revoked_at=func.now())
        )
        if not done.rowcount:
            raise NotFound(f"key {key_id}")
        audit_log.record(tx, actor, "key.revoke", str(key_id))


def authenticate(secret: str) -> KeyHolder | None:
    """Whose key this is; None for one that is unknown, revoked, expired, or of a user who is no longer active."""
    query = text("select * from app.get_api_key(:hash)")
    with transaction(ANONYMOUS) as tx:
        row = tx.execute(query, {"hash": _hash_secret(secret)}).one_or_none()
    if row is None:
        return None
    return read_row(KeyHolder, row, actor=person(row.user_id, Role.USER, row.email or ""))


def _hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()


_COLUMNS = tuple(column for column in api_keys.c if column.name != "secret_hash")
