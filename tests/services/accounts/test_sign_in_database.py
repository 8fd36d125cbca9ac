"""What the database lets which login do of a sign-in, also where its owner is no superuser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from services.accounts import provisioning
from services.accounts import sign_in as identity
from services.db.actor import ANONYMOUS, SYSTEM, Actor, Role, person
from services.db.embedded import EmbeddedPostgres
from services.db.engine import transaction
from services.db.migrate import migrate
from tests.support.accounts import EMAIL, PASSWORD, count_refusals
from tests.support.databases import Database
from tests.support.process_state import forget_process_state, point_at_database

FUNCTIONS = {
    "sign_in_lookup": "select * from app.begin_sign_in('a@example.com', null)",
    "sign_in_record": "select app.record_sign_in(1, true, null, null)",
    "session_lookup": "select * from app.get_sign_in(gen_random_uuid())",
    "sign_out": "select app.sign_out(gen_random_uuid(), now())",
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_opens_the_sign_in_functions_to_the_console_alone(user: Actor, name: str) -> None:
    with transaction(ANONYMOUS) as tx:
        tx.execute(text(FUNCTIONS[name]))
    for actor in (user, SYSTEM):
        with pytest.raises(ProgrammingError, match="permission denied"), transaction(actor) as tx:
            tx.execute(text(FUNCTIONS[name]))


@pytest.mark.parametrize(
    "table", ["auth.users", "accounts", "sign_in_attempts", "signed_out", "security_events", "audit_log"]
)
def test_it_lets_the_console_read_no_table_before_sign_in(database: Database, table: str) -> None:
    with pytest.raises(ProgrammingError, match="permission denied"), transaction(ANONYMOUS) as tx:
        tx.execute(text(f"select * from {table}"))


@pytest.mark.parametrize("table", ["sign_in_attempts", "signed_out"])
def test_it_shows_nobody_the_attempts_of_others(user: Actor, staff: Actor, table: str) -> None:
    for actor in (user, staff):
        with pytest.raises(ProgrammingError, match="permission denied"), transaction(actor) as tx:
            tx.execute(text(f"select * from {table}"))


def test_it_shows_a_user_only_their_own_account(ana: UUID, user: Actor, staff: Actor) -> None:
    count = text("select count(*) from accounts where user_id = :id")
    for actor, expected in ((person(ana, Role.USER), 1), (user, 0), (staff, 1)):
        with transaction(actor) as tx:
            assert tx.execute(count, {"id": ana}).scalar_one() == expected


SUPABASE_AUTH = """
create schema auth;
grant usage on schema auth to anon, authenticated, service_role;
create table auth.users (
  instance_id uuid, id uuid not null primary key, aud varchar(255), role varchar(255), email varchar(255),
  encrypted_password varchar(255), email_confirmed_at timestamptz, confirmation_token varchar(255),
  recovery_token varchar(255), email_change_token_new varchar(255), email_change varchar(255),
  last_sign_in_at timestamptz, raw_app_meta_data jsonb, raw_user_meta_data jsonb, is_super_admin boolean,
  created_at timestamptz, updated_at timestamptz, phone text default null unique, phone_change text default '',
  phone_change_token varchar(255) default '', confirmed_at timestamptz generated always as (email_confirmed_at) stored,
  email_change_token_current varchar(255) default '', banned_until timestamptz,
  reauthentication_token varchar(255) default '', is_sso_user boolean not null default false, deleted_at timestamptz
);
create unique index users_email_partial_key on auth.users (email) where is_sso_user = false;
alter table auth.users enable row level security;
"""


@pytest.fixture
def managed(
    cluster: EmbeddedPostgres, template: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[str], Database]]:
    """Makes databases whose owner is no superuser, as on a managed PostgreSQL: forced policies bind it too."""
    name = f"managed_{uuid4().hex[:12]}"

    def make(prepare: str) -> Database:
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
            connection.execute(f"create role {name} login createrole createdb password 'x'")
            for role in ("authenticated", "service_role", "anon", "plushify_console", "plushify_system"):
                connection.execute(f"grant {role} to {name} with admin option")
            connection.execute(f"create database {name} owner {name}")
        admin = psycopg.conninfo.conninfo_to_dict(cluster.url(name))
        owner = f"postgresql://{name}:x@/{name}?host={admin['host']}"
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(prepare)
        point_at_database(monkeypatch, owner, tmp_path / "data")
        migrate(owner)
        return Database(owner)

    yield make
    forget_process_state()
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(f"drop database if exists {name} with (force)")


@pytest.mark.parametrize("prepare", ["", SUPABASE_AUTH], ids=["plain", "supabase"])
def test_it_works_where_the_owner_is_no_superuser(managed: Callable[[str], Database], prepare: str) -> None:
    database = managed(prepare)
    assert not database.one("select rolsuper or rolbypassrls from pg_roles where rolname = current_user")
    user_id = provisioning.create_user(EMAIL, PASSWORD, Role.OPERATOR, "Ana")
    count_refusals(2)
    sign_in = identity.sign_in(EMAIL, PASSWORD)
    account = identity.get_account(sign_in)
    assert account is not None
    assert (account.actor.role, account.name) == (Role.OPERATOR, "Ana")
    identity.sign_out_everywhere(account.actor)
    assert identity.get_account(sign_in) is None
    assert count_refusals(6) == {"SignInRefused": 5, "SignInLocked": 1}
    if prepare:
        row = database.execute("select aud, role, confirmation_token, email_confirmed_at is not null from auth.users")
        assert row == [("authenticated", "authenticated", "", True)]
    assert database.one("select count(*) from public.accounts where user_id = %s", user_id) == 1
