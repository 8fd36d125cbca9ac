"""API keys: made once, hashed, scoped, taken back."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from services.accounts import api_keys
from services.accounts.api_keys import ExpiresInThePast, IncompleteKey, Scope, TooManyKeys
from services.db.actor import Actor, Role
from services.db.engine import transaction
from services.errors import InvalidInput, NotFound
from tests.support.databases import Database

READ = frozenset({Scope.READ})


def used_at(database: Database, key_id: UUID) -> datetime | None:
    found: datetime | None = database.one("select last_used_at from api_keys where id = %s", key_id)
    return found


def test_it_speaks_for_its_owner_as_an_ordinary_user(new_actor: Callable[..., Actor]) -> None:
    admin = new_actor(Role.ADMIN)
    made = api_keys.create(admin, " ERP ", frozenset({Scope.READ, Scope.SEND}))
    holder = api_keys.authenticate(made.secret)
    assert holder is not None
    assert (holder.actor.user_id, holder.actor.role, holder.key_id) == (admin.user_id, Role.USER, made.key.id)
    assert holder.scopes == {Scope.READ, Scope.SEND}
    assert made.key.name == "ERP"
    assert made.secret.startswith(made.key.prefix)


def test_it_keeps_nothing_from_which_the_key_could_be_read(database: Database, user: Actor) -> None:
    made = api_keys.create(user, "ERP", READ)
    everything = database.one(
        "select string_agg(k::text, '') || (select string_agg(a::text, '') from audit_log a) from api_keys k"
    )
    assert made.secret not in everything
    assert made.secret[len(made.key.prefix) :] not in everything
    with transaction(user) as tx, pytest.raises(ProgrammingError, match="permission denied"):
        tx.execute(text("select secret_hash from api_keys"))


@pytest.mark.parametrize(
    "change",
    [
        "update api_keys set revoked_at = now()",
        "update api_keys set expires_at = now() - interval '1 second'",
        "insert into accounts (user_id, active) select id, false from auth.users",
        "update auth.users set banned_until = now() + interval '1 day'",
        "update auth.users set deleted_at = now()",
        "delete from auth.users",
    ],
)
def test_it_is_worthless_once_it_or_its_owner_is_out(database: Database, user: Actor, change: str) -> None:
    made = api_keys.create(user, "ERP", READ, datetime.now(UTC) + timedelta(days=1))
    assert api_keys.authenticate(made.secret) is not None
    database.execute(change)
    assert api_keys.authenticate(made.secret) is None


@pytest.mark.parametrize("secret", ["", "plk_", "plk_" + "x" * 43, "plk_\x00", "plk_\ud800"])
def test_it_knows_no_other_key(user: Actor, secret: str) -> None:
    api_keys.create(user, "ERP", READ)
    assert api_keys.authenticate(secret) is None


def test_it_writes_down_its_use_once_a_minute(database: Database, user: Actor) -> None:
    made = api_keys.create(user, "ERP", READ)
    assert used_at(database, made.key.id) is None
    api_keys.authenticate(made.secret)
    first = used_at(database, made.key.id)
    api_keys.authenticate(made.secret)
    assert first is not None
    assert used_at(database, made.key.id) == first
    database.execute("update api_keys set last_used_at = now() - interval '61 seconds'")
    api_keys.authenticate(made.secret)
    later = used_at(database, made.key.id)
    assert later is not None
    assert later > first


def test_it_is_taken_back_by_its_owner_or_by_staff_and_by_nobody_else(
    user: Actor, staff: Actor, new_actor: Callable[..., Actor], database: Database
) -> None:
    one, two = api_keys.create(user, "um", READ), api_keys.create(user, "dois", READ)
    with pytest.raises(NotFound):
        api_keys.revoke(new_actor(), one.key.id)
    api_keys.revoke(user, one.key.id)
    api_keys.revoke(staff, two.key.id)
    for made in (one, two):
        assert api_keys.authenticate(made.secret) is None
        with pytest.raises(NotFound):
            api_keys.revoke(user, made.key.id)
    with pytest.raises(NotFound):
        api_keys.revoke(user, uuid4())
    assert [key.usable for key in api_keys.list_keys(user)] == [False, False]
    actions = database.execute("select action, actor_id from audit_log order by id")
    assert actions == [("key.create", user.user_id)] * 2 + [("key.revoke", user.user_id), ("key.revoke", staff.user_id)]


@pytest.mark.parametrize(
    "change",
    [
        "update api_keys set scopes = array['read', 'send', 'session']",
        "update api_keys set expires_at = null",
        "update api_keys set revoked_at = null",
        "update api_keys set user_id = auth.uid()",
        "delete from api_keys",
    ],
)
def test_it_lets_nobody_change_a_key_otherwise(user: Actor, database: Database, change: str) -> None:
    api_keys.create(user, "ERP", READ)
    before = database.execute("select * from api_keys")
    with transaction(user) as tx, pytest.raises(ProgrammingError):
        tx.execute(text(change))
    assert database.execute("select * from api_keys") == before


def test_it_shows_people_their_own_only(user: Actor, new_actor: Callable[..., Actor]) -> None:
    made = api_keys.create(user, "ERP", READ)
    assert api_keys.list_keys(new_actor()) == []
    assert api_keys.list_keys(user) == [made.key]


@pytest.mark.parametrize(
    ("name", "scopes", "expires_at", "refusal"),
    [
        ("", READ, None, IncompleteKey),
        ("  ", READ, None, IncompleteKey),
        ("x" * 81, READ, None, IncompleteKey),
        ("a\x00b", READ, None, IncompleteKey),
        ("ERP", frozenset[Scope](), None, IncompleteKey),
        ("ERP", READ, datetime(2020, 1, 1, tzinfo=UTC), ExpiresInThePast),
    ],
)
def test_it_says_what_is_missing(
    user: Actor, name: str, scopes: frozenset[Scope], expires_at: datetime | None, refusal: type[InvalidInput]
) -> None:
    with pytest.raises(refusal):
        api_keys.create(user, name, scopes, expires_at)
    assert api_keys.list_keys(user) == []


def test_it_stops_somebody_who_makes_keys_without_end(user: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "MAX_KEYS_PER_USER", 2)
    first = api_keys.create(user, "um", READ)
    api_keys.create(user, "dois", READ)
    with pytest.raises(TooManyKeys):
        api_keys.create(user, "três", READ)
    api_keys.revoke(user, first.key.id)
    api_keys.create(user, "três", READ)
