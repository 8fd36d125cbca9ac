"""Sign-in beside `auth.users` (which on Supabase is not ours to alter), lock-out, security events and the audit log.

What sign-in must read before anybody is known goes through `security definer` functions that only the console's login
role may execute. Row level security is forced, so it also binds the owner, who on a managed PostgreSQL is no superuser:
each table therefore names its owner in a policy of its own, or those functions would find nothing.
"""

from alembic import op
from psycopg import sql
from sqlalchemy.engine import make_url

from services import settings

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = """
create table public.accounts (
  user_id uuid primary key references auth.users (id) on delete cascade,
  token_version integer not null default 1,
  active boolean not null default true,
  name text,
  updated_at timestamptz not null default now()
);
comment on table public.accounts is 'what the console knows of a user beyond auth.users; no row means the defaults';

create table public.sign_in_attempts (
  id bigint generated always as identity primary key,
  key bytea not null,
  at timestamptz not null default clock_timestamp(),
  ip text,
  succeeded boolean not null default false
);
create index sign_in_attempts_key on public.sign_in_attempts (key, at desc);
create index sign_in_attempts_ip on public.sign_in_attempts (ip, at desc) where ip is not null and not succeeded;
create index sign_in_attempts_at on public.sign_in_attempts (at);
comment on column public.sign_in_attempts.key is 'sha256 of the lower-case e-mail: people type passwords into that box';

create table public.signed_out (
  sign_in_id uuid primary key,
  expires_at timestamptz not null
);
create index signed_out_expiry on public.signed_out (expires_at);
comment on table public.signed_out is 'sign-ins that ended before their token expires: copies of it are worthless';

create table public.security_events (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  kind text not null,
  subject text,
  ip text,
  detail jsonb not null default '{}',
  request_id text,
  actor_id uuid
);
create index security_events_at on public.security_events (at desc);
comment on table public.security_events is 'never holds a secret, not even a wrong one';

create table public.audit_log (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  actor_id uuid,
  actor_role text not null,
  action text not null,
  subject text,
  detail jsonb not null default '{}',
  request_id text
);
create index audit_log_at on public.audit_log (at desc);
create index audit_log_subject on public.audit_log (subject, at desc);
"""

# Triggers bind the owner and a superuser too, unlike grants.
APPEND_ONLY = """
create function app.refuse_change() returns trigger language plpgsql set search_path = '' as $f$
begin
  raise exception 'audit_log is append-only' using errcode = 'insufficient_privilege';
end $f$;
create trigger append_only before update or delete or truncate on public.audit_log
  for each statement execute function app.refuse_change();
"""

ISOLATION = """
do $$
declare t text;
begin
  foreach t in array array['accounts', 'sign_in_attempts', 'signed_out', 'security_events', 'audit_log'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('alter table public.%I force row level security', t);
    execute format('revoke all on public.%I from public, anon, authenticated, service_role', t);
    execute format('create policy %I on public.%I to current_user using (true) with check (true)', t || '_of_owner', t);
  end loop;
end $$;

grant select on public.accounts to authenticated;
grant select, insert, update on public.accounts to service_role;
create policy accounts_own_or_staff on public.accounts for select to authenticated
  using ((select auth.uid()) = user_id or (select app.is_staff()));
create policy accounts_of_system on public.accounts to service_role using (true) with check (true);

grant select, delete on public.sign_in_attempts to service_role;
create policy sign_in_attempts_of_system on public.sign_in_attempts to service_role using (true);
grant select, delete on public.signed_out to service_role;
create policy signed_out_of_system on public.signed_out to service_role using (true);

grant select, insert on public.security_events to authenticated;
grant select, insert, delete on public.security_events to service_role;
create policy security_events_for_staff on public.security_events for select to authenticated
  using ((select app.is_staff()));
create policy security_events_by_actor on public.security_events for insert to authenticated
  with check ((select auth.uid()) = actor_id);
create policy security_events_of_system on public.security_events to service_role using (true) with check (true);

grant select, insert on public.audit_log to authenticated, service_role;
create policy audit_log_for_staff on public.audit_log for select to authenticated using ((select app.is_staff()));
create policy audit_log_by_actor on public.audit_log for insert to authenticated
  with check ((select auth.uid()) = actor_id and actor_role = (select app.claimed_role()));
create policy audit_log_of_system on public.audit_log to service_role using (true) with check (actor_id is null);
"""

CLAIMED_ROLE = """
create function app.claimed_role() returns text language sql stable as $f$
  select nullif(current_setting('request.jwt.claims', true), '')::json -> 'app_metadata' ->> 'role'
$f$;
"""

# Five failures within 15 minutes lock a name, known or not, until 15 minutes after the last one; 30 lock an address.
# A private address is not locked: it may well be a proxy's, and then everybody's.
# A refused attempt is not counted, or somebody could keep a name locked for ever. Each attempt is booked as a failure
# BEFORE its password is checked, one at a time per name: a hundred guesses at once are still five.
SIGN_IN = r"""
create function app.email_key(email text) returns bytea language sql immutable set search_path = '' as $f$
  select sha256(convert_to(lower(email), 'UTF8'))
$f$;

create function app.known_role(meta jsonb) returns text language sql immutable set search_path = '' as $f$
  select case when meta ->> 'role' in ('admin', 'operator', 'user') then meta ->> 'role' else 'user' end
$f$;

create function app.locked_until(wanted bytea, from_ip text) returns table (failures integer, until timestamptz)
language sql stable set search_path = '' as $f$
  with streak as (
    select a.at, row_number() over (order by a.at desc, a.id desc) as n
      from public.sign_in_attempts a
     where a.key = wanted and not a.succeeded and a.at > clock_timestamp() - interval '30 minutes'
       and not exists (select from public.sign_in_attempts s where s.key = wanted and s.succeeded and s.id >= a.id)
  ), by_ip as (
    select a.at, row_number() over (order by a.at desc) as n
      from public.sign_in_attempts a
     where a.ip = from_ip and not a.succeeded and a.at > clock_timestamp() - interval '15 minutes'
       and from_ip !~ '^(10\.|127\.|192\.168\.|172\.(1[6-9]|2[0-9]|3[01])\.|::1$|f[cd]|fe80)'
     order by a.at desc limit 30
  )
  select (select count(*)::integer from streak where at > clock_timestamp() - interval '15 minutes'),
         greatest(
           (select latest.at + interval '15 minutes' from streak latest join streak fifth on fifth.n = 5
             where latest.n = 1 and latest.at - fifth.at <= interval '15 minutes'
               and latest.at + interval '15 minutes' > clock_timestamp()),
           (select at + interval '15 minutes' from by_ip where n = 30))
$f$;

create function app.sign_in_lookup(wanted text, from_ip text)
returns table (attempt bigint, user_id uuid, email text, password_hash text, role text, active boolean,
               token_version integer, name text, failures_recent integer, locked_until timestamptz)
language plpgsql volatile security definer set search_path = '' as $f$
declare
  wanted_key bytea := app.email_key(wanted);
begin
  perform pg_advisory_xact_lock(hashtext('sign-in'), hashtext(wanted_key::text));
  delete from public.sign_in_attempts old where old.id in (
    select a.id from public.sign_in_attempts a where a.at < clock_timestamp() - interval '1 day' limit 100
       for update skip locked);
  select l.failures, l.until into failures_recent, locked_until from app.locked_until(wanted_key, from_ip) l;
  if locked_until is null then
    insert into public.sign_in_attempts as a (key, ip) values (wanted_key, from_ip) returning a.id into attempt;
    select u.id, u.email::text, nullif(u.encrypted_password, ''), app.known_role(u.raw_app_meta_data),
           u.deleted_at is null and coalesce(u.banned_until <= now(), true) and coalesce(c.active, true),
           coalesce(c.token_version, 1), coalesce(nullif(c.name, ''), u.email::text)
      into user_id, email, password_hash, role, active, token_version, name
      from auth.users u left join public.accounts c on c.user_id = u.id
     where lower(u.email::text) = lower(wanted)
     order by u.deleted_at nulls first, u.encrypted_password is null, u.created_at limit 1;
  end if;
  return next;
end $f$;

create function app.sign_in_record(attempt bigint, succeeded boolean, who uuid, request text)
returns void language plpgsql volatile security definer set search_path = '' as $f$
declare
  booked public.sign_in_attempts;
  until timestamptz;
begin
  update public.sign_in_attempts a set succeeded = sign_in_record.succeeded
   where a.id = attempt and not a.succeeded returning * into booked;
  if not found then
    return;
  end if;
  select l.until into until from app.locked_until(booked.key, booked.ip) l;
  insert into public.security_events (kind, subject, ip, detail, request_id) values (
    case when booked.succeeded then 'sign_in' when until is not null then 'sign_in_locked' else 'sign_in_failed' end,
    coalesce(who::text, 'sha256:' || left(encode(booked.key, 'hex'), 16)), booked.ip, '{}', request);
end $f$;

create function app.session_lookup(wanted uuid, sign_in uuid default null)
returns table (email text, role text, active boolean, token_version integer, name text)
language sql stable security definer set search_path = '' as $f$
  select u.email::text, app.known_role(u.raw_app_meta_data),
         u.deleted_at is null and coalesce(u.banned_until <= now(), true) and coalesce(c.active, true)
           and not exists (select from public.signed_out o where o.sign_in_id = sign_in),
         coalesce(c.token_version, 1), coalesce(nullif(c.name, ''), u.email::text)
    from auth.users u left join public.accounts c on c.user_id = u.id
   where u.id = wanted
$f$;

create function app.sign_out(sign_in uuid, until timestamptz)
returns void language sql volatile security definer set search_path = '' as $f$
  delete from public.signed_out where expires_at < now();
  insert into public.signed_out (sign_in_id, expires_at) values (sign_in, least(until, now() + interval '31 days'))
    on conflict do nothing;
$f$;

create function app.revoke_tokens(wanted uuid)
returns void language plpgsql volatile security definer set search_path = '' as $f$
begin
  if (auth.uid() = wanted or app.is_staff()) is not true then
    raise exception 'only for oneself or by staff' using errcode = 'insufficient_privilege';
  end if;
  insert into public.accounts as a (user_id, token_version) values (wanted, 2)
    on conflict (user_id) do update set token_version = a.token_version + 1, updated_at = now();
  insert into public.security_events (kind, subject, actor_id) values ('tokens_revoked', wanted::text, auth.uid());
end $f$;
"""

# An open page must notice at once that its user was shut out: same channel and form as the sessions' bell.
BELL = """
create function app.ring_account() returns trigger language plpgsql set search_path = '' as $f$
begin
  perform pg_notify('live', 'account:' || new.user_id);
  return null;
end $f$;
create trigger ring after insert or update of active, token_version on public.accounts
  for each row execute function app.ring_account();
"""

GRANTS = """
revoke execute on all functions in schema app from public;
grant execute on function app.is_staff(), app.is_admin(), app.claimed_role()
  to authenticated, service_role, {console}, {system};
grant execute on function app.sign_in_lookup(text, text), app.sign_in_record(bigint, boolean, uuid, text),
  app.session_lookup(uuid, uuid), app.sign_out(uuid, timestamptz) to {console};
grant execute on function app.revoke_tokens(uuid) to authenticated;
"""


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    configured = settings.get()
    for part in (TABLES, CLAIMED_ROLE, APPEND_ONLY, ISOLATION, SIGN_IN, BELL):
        driver.execute(part)
    driver.execute(
        sql.SQL(GRANTS).format(
            console=sql.Identifier(make_url(configured.console_database_url.get_secret_value()).username or ""),
            system=sql.Identifier(make_url(configured.system_database_url.get_secret_value()).username or ""),
        )
    )
