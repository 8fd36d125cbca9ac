"""Managing users from the console, where `auth.users` is ours: invitations, roles, deactivation, one-time links.

Everything goes through functions that ask for an admin themselves, so that the console's login reaches no further than
they do. Where the table belongs to somebody else (Supabase), they refuse: users are managed there.
"""

from alembic import op
from psycopg import sql
from sqlalchemy.engine import make_url

from services import settings

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

LINKS = """
create table public.one_time_links (
  token_hash bytea primary key,
  user_id uuid not null references auth.users (id) on delete cascade,
  purpose text not null check (purpose in ('invite', 'reset')),
  created_by uuid not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index one_time_links_user on public.one_time_links (user_id);
alter table public.one_time_links enable row level security;
alter table public.one_time_links force row level security;
revoke all on public.one_time_links from public, anon, authenticated, service_role;
do $$ begin
  execute 'create policy one_time_links_of_owner on public.one_time_links to current_user'
    ' using (true) with check (true)';
end $$;
"""

# PL001: not here; PL002: the last admin. Admins change one at a time, so that two cannot each be the other's last.
FUNCTIONS = """
create function app.manages_users() returns boolean language sql stable security definer set search_path = '' as $f$
  select c.relowner = (select r.oid from pg_catalog.pg_roles r where r.rolname = current_user)
    from pg_catalog.pg_class c where c.oid = 'auth.users'::regclass
$f$;

create function app.require_manager() returns void language plpgsql set search_path = '' as $f$
begin
  if not app.is_admin() then
    raise exception 'only for admins' using errcode = 'insufficient_privilege';
  end if;
  if not app.manages_users() then
    raise exception 'users are managed elsewhere' using errcode = 'PL001';
  end if;
  perform pg_advisory_xact_lock(hashtext('plushify-users'));
end $f$;

create function app.require_other_admin(leaving uuid) returns void language plpgsql set search_path = '' as $f$
begin
  if not exists (
    select from auth.users u left join public.accounts a on a.user_id = u.id
     where u.id <> leaving and app.known_role(u.raw_app_meta_data) = 'admin' and u.deleted_at is null
       and coalesce(u.banned_until <= now(), true) and coalesce(a.active, true)
       and coalesce(u.encrypted_password, '') <> '') then
    raise exception 'the last admin' using errcode = 'PL002';
  end if;
end $f$;

create function app.link_user(wanted uuid, purpose text, token_hash bytea, until timestamptz)
returns void language plpgsql security definer set search_path = '' as $f$
begin
  perform app.require_manager();
  delete from public.one_time_links l where l.user_id = wanted or l.expires_at < now();
  insert into public.one_time_links (token_hash, user_id, purpose, created_by, expires_at)
    values (link_user.token_hash, wanted, link_user.purpose, auth.uid(), until);
end $f$;

create function app.invite_user(wanted text, known_as text, as_role text, token_hash bytea, until timestamptz)
returns uuid language plpgsql security definer set search_path = '' as $f$
declare made uuid := gen_random_uuid();
begin
  perform app.require_manager();
  if exists (select from auth.users u where lower(u.email::text) = lower(wanted) and u.deleted_at is null) then
    raise exception 'taken' using errcode = 'unique_violation';
  end if;
  insert into auth.users (id, email, encrypted_password, raw_app_meta_data, raw_user_meta_data) values (
    made, lower(wanted), '', jsonb_build_object('provider', 'email', 'providers', array['email'], 'role', as_role),
    '{}');
  insert into public.accounts (user_id, name) values (made, nullif(known_as, ''));
  perform app.link_user(made, 'invite', token_hash, until);
  return made;
end $f$;

create function app.set_user_role(wanted uuid, as_role text)
returns void language plpgsql security definer set search_path = '' as $f$
begin
  perform app.require_manager();
  if as_role not in ('admin', 'operator', 'user') then
    raise exception 'unknown role' using errcode = 'check_violation';
  end if;
  if as_role <> 'admin' then
    perform app.require_other_admin(wanted);
  end if;
  update auth.users u set updated_at = now(),
         raw_app_meta_data = coalesce(u.raw_app_meta_data, '{}') || jsonb_build_object('role', as_role)
   where u.id = wanted;
end $f$;

create function app.set_user_active(wanted uuid, to_be boolean)
returns void language plpgsql security definer set search_path = '' as $f$
begin
  perform app.require_manager();
  if not to_be then
    perform app.require_other_admin(wanted);
  end if;
  insert into public.accounts as a (user_id, active, token_version) values (wanted, to_be, 2)
    on conflict (user_id) do update
      set active = to_be, token_version = a.token_version + (not to_be)::integer, updated_at = now();
end $f$;

create function app.link_lookup(token_hash bytea) returns table (email text, purpose text)
language sql stable security definer set search_path = '' as $f$
  select u.email::text, l.purpose
    from public.one_time_links l join auth.users u on u.id = l.user_id
    left join public.accounts a on a.user_id = u.id
   where l.token_hash = link_lookup.token_hash and l.expires_at > now() and u.deleted_at is null
     and coalesce(a.active, true)
$f$;

create function app.use_link(token_hash bytea, password_hash text)
returns uuid language plpgsql security definer set search_path = '' as $f$
declare
  whose uuid;
begin
  if not exists (select from app.link_lookup(token_hash)) then
    return null;
  end if;
  delete from public.one_time_links l where l.token_hash = use_link.token_hash returning l.user_id into whose;
  if whose is null then
    return null;
  end if;
  update auth.users u set encrypted_password = password_hash, updated_at = now() where u.id = whose;
  insert into public.accounts as a (user_id, token_version) values (whose, 2)
    on conflict (user_id) do update set token_version = a.token_version + 1, updated_at = now();
  insert into public.security_events (kind, subject) values ('password_set', whose::text);
  return whose;
end $f$;
"""

GRANTS = """
revoke execute on function app.manages_users, app.require_manager, app.require_other_admin, app.link_user,
  app.invite_user, app.set_user_role, app.set_user_active, app.link_lookup, app.use_link from public;
grant execute on function app.manages_users, app.link_user, app.invite_user, app.set_user_role, app.set_user_active
  to authenticated;
grant execute on function app.link_lookup, app.use_link to {console};
"""


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    console = make_url(settings.get().console_database_url.get_secret_value()).username or ""
    for part in (LINKS, FUNCTIONS):
        driver.execute(part)
    driver.execute(sql.SQL(GRANTS).format(console=sql.Identifier(console)))
