"""Databases that no migration has seen, of each kind that the product may find."""

from dataclasses import dataclass
from uuid import uuid4

import pytest

from services.db.actor import Actor, Role, person
from services.db.migrate import migrate
from tests.support.databases import Database
from tests.support.process_state import forget_process_state

OWNER = "project_owner"
# Supabase's own state before anything of ours, as its postgres image and its auth server leave it: the owner of a
# project is no superuser, `auth` is not the owner's, and whatever appears in `public` is open to the API roles.
SUPABASE = """
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role supabase_auth_admin nologin noinherit createrole;
create role {owner} login nosuperuser createdb createrole {bypass};
do $$ begin
  if current_setting('server_version_num')::integer >= 160000 then
    grant anon, authenticated, service_role to {owner} with admin option;
  end if;
end $$;
grant all on database {database} to {owner};
grant all on schema public to {owner};
grant usage on schema public to anon, authenticated, service_role;
alter default privileges for role {owner} in schema public
  grant all on tables to anon, authenticated, service_role;
alter default privileges for role {owner} in schema public
  grant all on functions to anon, authenticated, service_role;
alter default privileges for role {owner} in schema public
  grant all on sequences to anon, authenticated, service_role;
create schema auth authorization supabase_auth_admin;
grant usage on schema auth to anon, authenticated, service_role, {owner};
set role supabase_auth_admin;
create table auth.users (
  instance_id uuid, id uuid primary key, aud varchar(255), role varchar(255), email varchar(255),
  encrypted_password varchar(255), email_confirmed_at timestamptz, invited_at timestamptz,
  confirmation_token varchar(255), confirmation_sent_at timestamptz, recovery_token varchar(255),
  recovery_sent_at timestamptz, email_change_token_new varchar(255), email_change varchar(255),
  email_change_sent_at timestamptz, last_sign_in_at timestamptz, raw_app_meta_data jsonb, raw_user_meta_data jsonb,
  is_super_admin boolean, created_at timestamptz, updated_at timestamptz, phone text unique default null,
  phone_confirmed_at timestamptz, phone_change text default '', phone_change_token varchar(255) default '',
  phone_change_sent_at timestamptz,
  confirmed_at timestamptz generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
  email_change_token_current varchar(255) default '', email_change_confirm_status smallint default 0,
  banned_until timestamptz, reauthentication_token varchar(255) default '', reauthentication_sent_at timestamptz,
  is_sso_user boolean not null default false, deleted_at timestamptz, is_anonymous boolean not null default false
);
create unique index users_email_partial_key on auth.users (email) where is_sso_user = false;
create function auth.uid() returns uuid language sql stable as $f$
  select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid
$f$;
grant all on auth.users to {owner};
reset role;
"""
# Supabase switches it on without any policy: its own owner passes by bypassrls, nobody else reads a user.
SUPABASE_RLS = "alter table auth.users enable row level security"


@dataclass(frozen=True)
class EmptyDatabase(Database):
    """A database that no migration has seen. `owner_url` is whose the schema will be."""

    owner_url: str

    def migrate(self, revision: str = "head") -> None:
        migrate(self.owner_url, revision)

    def users(self) -> list[tuple[object, ...]]:
        return self.execute("select to_jsonb(u)::text from auth.users u order by id")

    def new_user(self, role: Role = Role.USER) -> Actor:
        user_id = uuid4()
        address = f"{user_id}@example.com"
        self.execute(
            "insert into auth.users (id, email, raw_app_meta_data)"
            " values (%s, %s, jsonb_build_object('role', %s::text))",
            user_id,
            address,
            str(role),
        )
        return person(user_id, role, address)


def owned_by_a_plain_role(empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch) -> EmptyDatabase:
    """The database of somebody who may create roles and databases, and nothing else: a usual managed PostgreSQL."""
    empty_database.execute(f"create role {OWNER} login nosuperuser createdb createrole")
    name = empty_database.one("select current_database()")
    empty_database.execute(f"alter database {name} owner to {OWNER}")
    return _use_owner(empty_database, monkeypatch)


def supabase(empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch) -> EmptyDatabase:
    """The database of a Supabase project."""
    name = empty_database.one("select current_database()")
    empty_database.execute(SUPABASE.format(owner=OWNER, database=name, bypass="bypassrls"))
    empty_database.execute(SUPABASE_RLS)
    return _use_owner(empty_database, monkeypatch)


def managed_auth(empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch) -> EmptyDatabase:
    """The same where the owner does not get past row level security."""
    name = empty_database.one("select current_database()")
    empty_database.execute(SUPABASE.format(owner=OWNER, database=name, bypass="nobypassrls"))
    return _use_owner(empty_database, monkeypatch)


def _use_owner(empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch) -> EmptyDatabase:
    owner_url = empty_database.url.replace("postgres@", f"{OWNER}@", 1)
    monkeypatch.setenv("DATABASE_URL", owner_url)
    forget_process_state()
    return EmptyDatabase(empty_database.url, owner_url)


def plain(empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch) -> EmptyDatabase:
    """The embedded database: its owner is a superuser."""
    return empty_database
