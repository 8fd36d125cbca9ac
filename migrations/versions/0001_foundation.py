"""Roles, `auth` as Supabase has it, the schemas `app` and `extensions`, and the functions that every table may need.

Migrations only go up: what is wrong in a released schema, the next migration puts right; nothing is undone under data.
"""

from psycopg import sql
from sqlalchemy.engine import make_url

from migrations.ddl import console_login, execute, install, system_login
from services import settings

revision = "0001_foundation"
down_revision = None
branch_labels = None
depends_on = None

# Supabase has these roles already.
ROLES = """
do $$
declare name text;
begin
  foreach name in array array['anon', 'authenticated', 'service_role'] loop
    if not exists (select from pg_roles where rolname = name) then
      execute format('create role %I nologin noinherit', name);
    end if;
  end loop;
end $$;
"""

LOGIN_ROLE = """
do $$ begin
  if exists (select from pg_roles where rolname = {name_text}) then
    alter role {name} login noinherit password {password};
  else
    create role {name} login noinherit password {password};
  end if;
end $$;
grant {group} to {name};
"""

# Made only where it is missing. The columns are some of those of Supabase's auth.users, with its names and types.
AUTH = """
do $$
begin
  if not exists (select from pg_namespace where nspname = 'auth') then
    create schema auth;
    grant usage on schema auth to anon, authenticated, service_role;
  end if;
  if to_regclass('auth.users') is null then
    create table auth.users (
      id uuid primary key default gen_random_uuid(),
      email varchar(255),
      encrypted_password varchar(255),
      raw_app_meta_data jsonb not null default '{}',
      raw_user_meta_data jsonb not null default '{}',
      banned_until timestamptz,
      deleted_at timestamptz,
      last_sign_in_at timestamptz,
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now()
    );
    create unique index users_email_lower on auth.users (lower(email));
  end if;
  if to_regprocedure('auth.uid()') is null then
    create function auth.uid() returns uuid language sql stable as $f$
      select nullif(nullif(current_setting('request.jwt.claims', true), '')::json ->> 'sub', '')::uuid
    $f$;
    grant execute on function auth.uid() to anon, authenticated, service_role;
  end if;
end $$;
"""

APP = """
create schema app;
grant usage on schema app to authenticated, service_role, {console}, {system};
"""

# In a schema of their own, as Supabase has it; an extension that is there already stays where it is.
EXTENSIONS = """
create schema if not exists extensions;
grant usage on schema extensions to authenticated, service_role;
create extension if not exists unaccent schema extensions;
create extension if not exists btree_gin schema extensions;
"""

# Supabase gives its API roles every right on whatever appears in `public`: else they could read and rewrite this list.
# Not forced, because the owner of the database keeps the list and has no policy here.
VERSIONS = """
alter table public.alembic_version enable row level security;
revoke all on public.alembic_version from public, anon, authenticated, service_role;
"""

# The two logins inherit nothing from the roles that they may become, so they need these rights themselves.
LOGIN_RIGHTS = """
grant execute on function app.claimed_role, app.is_staff, app.is_admin to {console}, {system};
"""


def _login_role(url: str, member_of: str) -> sql.Composed:
    """A login that owns nothing, inherits nothing and may become `member_of` only."""
    login = make_url(url)
    return sql.SQL(LOGIN_ROLE).format(
        name=sql.Identifier(login.username or ""),
        name_text=sql.Literal(login.username),
        password=sql.Literal(login.password),
        group=sql.Identifier(member_of),
    )


def upgrade() -> None:
    console_url = settings.get().database.console_url.get_secret_value()
    system_url = settings.get().database.system_url.get_secret_value()
    logins = {"console": console_login(), "system": system_login()}
    execute(ROLES)
    execute(_login_role(console_url, "authenticated"))
    execute(_login_role(system_url, "service_role"))
    execute(AUTH)
    execute(sql.SQL(APP).format(**logins))
    execute(EXTENSIONS)
    execute(VERSIONS)
    install("claimed_role", "is_staff", "is_admin", "fold_text", "get_search_words")
    execute(sql.SQL(LOGIN_RIGHTS).format(**logins))
