"""Roles, the `auth` schema as Supabase has it (made only where it is missing), and the claims functions.

Migrations only go up: a released schema is mended by the next migration, never unwound under data.
"""

from alembic import op
from psycopg import sql
from sqlalchemy.engine import make_url

from services import settings

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

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

# The columns are a subset of Supabase's own auth.users, with its names and types.
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

CLAIMS = """
create schema app;
grant usage on schema app to authenticated, service_role, {console}, {system};

create function app.is_staff() returns boolean language sql stable as $f$
  select coalesce(
    nullif(current_setting('request.jwt.claims', true), '')::json -> 'app_metadata' ->> 'role'
      in ('admin', 'operator'), false)
$f$;

create function app.is_admin() returns boolean language sql stable as $f$
  select coalesce(
    nullif(current_setting('request.jwt.claims', true), '')::json -> 'app_metadata' ->> 'role' = 'admin', false)
$f$;
"""


def _login_role(url: str, member_of: str) -> sql.Composed:
    """A login that owns nothing, inherits nothing and may become `member_of` only."""
    login = make_url(url)
    return sql.SQL(
        """
        do $$ begin
          if exists (select from pg_roles where rolname = {name_text}) then
            alter role {name} login noinherit password {password};
          else
            create role {name} login noinherit password {password};
          end if;
        end $$;
        grant {group} to {name};
        """
    ).format(
        name=sql.Identifier(login.username or ""),
        name_text=sql.Literal(login.username),
        password=sql.Literal(login.password),
        group=sql.Identifier(member_of),
    )


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    configured = settings.get()
    console_url = configured.console_database_url.get_secret_value()
    system_url = configured.system_database_url.get_secret_value()
    driver.execute(ROLES)
    driver.execute(_login_role(console_url, "authenticated"))
    driver.execute(_login_role(system_url, "service_role"))
    driver.execute(AUTH)
    driver.execute(
        sql.SQL(CLAIMS).format(
            console=sql.Identifier(make_url(console_url).username or ""),
            system=sql.Identifier(make_url(system_url).username or ""),
        )
    )
