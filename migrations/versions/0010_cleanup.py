"""What rubbish is, how it is counted and how it goes; `cleanup_runs`, the record of who cleaned what.

Each kind of rubbish is one view of what may go and since when; counting and deleting both read it, so that a preview
and a run mean the same rows. Both are functions of the owner: staff may count rows that they may not read (messages,
sign-in attempts), and the worker needs no right to delete beyond what these functions delete.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TABLES = """
alter table public.whatsapp_sessions
  add column cleaning_until timestamptz,
  add column cleared_at timestamptz;
comment on column public.whatsapp_sessions.cleaning_until is 'lease of a clean-up: no start may begin before it ends';
comment on column public.whatsapp_sessions.cleared_at is
  'when its data on the WPPConnect server was deleted; counts only while later than updated_at';
grant select (cleaning_until) on public.whatsapp_sessions to authenticated;

create table public.cleanup_runs (
  id bigint generated always as identity primary key,
  actor_id uuid,
  kinds text[] not null check (kinds <@ array['codes', 'sessions', 'events', 'parked_acks', 'heartbeats',
    'sign_in_attempts', 'signed_out', 'security_events', 'jobs', 'runs']),
  expected jsonb not null default '{}',
  counts jsonb not null default '{}',
  postponed integer not null default 0,
  created_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  finished_at timestamptz,
  error text
);
create unique index cleanup_runs_one on public.cleanup_runs ((true)) where finished_at is null;
create index cleanup_runs_finished on public.cleanup_runs (finished_at) where finished_at is not null;
comment on column public.cleanup_runs.actor_id is 'null: the hourly clean-up';
comment on column public.cleanup_runs.expected is 'kind → how many rows were rubbish when the run was asked for';
comment on column public.cleanup_runs.counts is 'kind → how many went, written with each batch';

create index whatsapp_sessions_codes on public.whatsapp_sessions (id)
  where qr_code is not null or qr_urlcode is not null or phone_code is not null;
create index messages_of_session on public.messages (session_id, created_at desc);
create index events_done on public.events (received_at) where verdict in ('handled', 'unsupported', 'duplicate');
"""

# People may ask for a run and watch it; only the worker writes down what became of it.
ISOLATION = """
alter table public.cleanup_runs enable row level security;
alter table public.cleanup_runs force row level security;
revoke all on public.cleanup_runs from public, anon, authenticated;
do $$ begin
  execute format('revoke all on sequence %s from public, anon, authenticated',
    pg_get_serial_sequence('public.cleanup_runs', 'id'));
end $$;
grant select on public.cleanup_runs to authenticated;
grant insert (actor_id, kinds, expected) on public.cleanup_runs to authenticated;
grant select, insert, update, delete on public.cleanup_runs to service_role;
create policy cleanup_runs_of_staff on public.cleanup_runs for select to authenticated using ((select app.is_staff()));
create policy cleanup_runs_by_admin on public.cleanup_runs for insert to authenticated
  with check ((select app.is_admin()) and (select auth.uid()) = actor_id);
create policy cleanup_runs_of_system on public.cleanup_runs to service_role using (true) with check (true);

-- Row level security binds the owner too, as whom the functions below run.
do $$
declare t text;
begin
  foreach t in array array['whatsapp_sessions', 'messages', 'parked_acks', 'heartbeats', 'cleanup_runs'] loop
    execute format('create policy %I on public.%I to current_user using (true) with check (true)', t || '_cleaned', t);
  end loop;
end $$;
"""

# `since` is the moment from which a row's retention counts.
VIEWS = """
create view app.rubbish_codes as
  select id, qr_since, code_since, least(qr_since, code_since) as since
    from (select id,
                 case when coalesce(qr_code, qr_urlcode) is not null then coalesce(qr_received_at, updated_at) end
                   as qr_since,
                 case when phone_code is not null then coalesce(phone_code_at, updated_at) end as code_since
            from public.whatsapp_sessions
           where qr_code is not null or qr_urlcode is not null or phone_code is not null) coded;

create view app.rubbish_sessions as
  select s.id, s.session_id as name, s.server_url, s.updated_at as since, s.cleaning_until,
         coalesce(s.cleared_at > s.updated_at, false) as cleared,
         case when exists (select from public.messages m where m.session_id = s.id and m.state in ('queued', 'sending'))
              then 'infinity'::timestamptz
              else (select max(m.created_at) from public.messages m where m.session_id = s.id) end as needed
    from public.whatsapp_sessions s
   where s.status = 'desconectado' and s.check_at is null;

-- A message that came in is kept nowhere else than in its event, which is `unsupported` until something reads it.
create view app.rubbish_events as
  select id, received_at as since from public.events
   where verdict in ('handled', 'unsupported', 'duplicate') and not (verdict = 'unsupported' and kind = 'onmessage');

create view app.rubbish_parked_acks as select ctid as place, at as since from public.parked_acks;
create view app.rubbish_heartbeats as select ctid as place, at as since from public.heartbeats;
create view app.rubbish_sign_in_attempts as select id, at as since from public.sign_in_attempts;
create view app.rubbish_signed_out as select sign_in_id, expires_at as since from public.signed_out;
create view app.rubbish_security_events as select id, at as since from public.security_events;
create view app.rubbish_jobs as
  select j.id, (select max(e.at) from jobs.procrastinate_events e where e.job_id = j.id) as since
    from jobs.procrastinate_jobs j where j.status in ('succeeded', 'failed', 'cancelled', 'aborted');
create view app.rubbish_runs as
  select id, finished_at as since from public.cleanup_runs where finished_at is not null;
"""

# Without a search path of its own, so that the planner can put its body in its place.
SESSION_DUE = """
create function app.session_due(since timestamptz, cleared boolean, needed timestamptz, keep interval, history interval)
returns boolean language sql stable as $f$
  select since < now() - keep and (not cleared or coalesce(needed < now() - history, true))
$f$;
"""

FINDINGS = """
create function app.cleanup_findings(keep jsonb)
returns table (kind text, found bigint, oldest timestamptz)
language plpgsql stable security definer set search_path = '' as $f$
begin
  if not (app.is_staff() or current_setting('role') = 'service_role') then
    raise exception 'only for staff' using errcode = 'insufficient_privilege';
  end if;
  return query
    select 'codes', count(*), min(since) from app.rubbish_codes where since < now() - (keep ->> 'codes')::interval
    union all
    select 'sessions', count(*), min(since) from app.rubbish_sessions
     where app.session_due(since, cleared, needed, (keep ->> 'sessions')::interval, (keep ->> 'history')::interval)
    union all
    select 'events', count(*), min(since) from app.rubbish_events where since < now() - (keep ->> 'events')::interval
    union all
    select 'parked_acks', count(*), min(since) from app.rubbish_parked_acks
     where since < now() - (keep ->> 'parked_acks')::interval
    union all
    select 'heartbeats', count(*), min(since) from app.rubbish_heartbeats
     where since < now() - (keep ->> 'heartbeats')::interval
    union all
    select 'sign_in_attempts', count(*), min(since) from app.rubbish_sign_in_attempts
     where since < now() - (keep ->> 'sign_in_attempts')::interval
    union all
    select 'signed_out', count(*), min(since) from app.rubbish_signed_out
     where since < now() - (keep ->> 'signed_out')::interval
    union all
    select 'security_events', count(*), min(since) from app.rubbish_security_events
     where since < now() - (keep ->> 'security_events')::interval
    union all
    select 'jobs', count(*), min(since) from app.rubbish_jobs where since < now() - (keep ->> 'jobs')::interval
    union all
    select 'runs', count(*), min(since) from app.rubbish_runs where since < now() - (keep ->> 'runs')::interval;
end $f$;
"""

# Its own function, so that a table that becomes append-only has one door to change.
FORGET_SECURITY_EVENTS = """
create function app.forget_security_events(keep interval, most integer) returns integer
language plpgsql volatile security definer set search_path = '' as $f$
declare gone integer;
begin
  delete from public.security_events where id = any(array(
    select id from app.rubbish_security_events where since < now() - keep order by since limit most
       for update skip locked));
  get diagnostics gone = row_count;
  return gone;
end $f$;
"""

# One batch of one kind. The rows are chosen, checked again and locked by the inner statement; `array(…)` makes it run
# once. Codes are blanked each by its own age, and touch no `updated_at`: it is the age of the session.
CLEAN = """
create function app.clean(kind text, keep interval, most integer) returns integer
language plpgsql volatile security definer set search_path = '' as $f$
declare
  cut timestamptz := now() - keep;
  gone integer;
begin
  case kind
  when 'codes' then
    with old as (
      select id, coalesce(qr_since < cut, false) as qr, coalesce(code_since < cut, false) as code
        from app.rubbish_codes where since < cut order by since limit most for update skip locked)
    update public.whatsapp_sessions s set
        qr_code = case when old.qr then null else s.qr_code end,
        qr_urlcode = case when old.qr then null else s.qr_urlcode end,
        qr_received_at = case when old.qr then null else s.qr_received_at end,
        qr_expires_at = case when old.qr then null else s.qr_expires_at end,
        phone_code = case when old.code then null else s.phone_code end,
        phone_code_at = case when old.code then null else s.phone_code_at end
      from old where s.id = old.id;
  when 'events' then
    delete from public.events where id = any(array(
      select id from app.rubbish_events where since < cut order by since limit most for update skip locked));
  when 'parked_acks' then
    delete from public.parked_acks where ctid = any(array(
      select place from app.rubbish_parked_acks where since < cut limit most for update skip locked));
  when 'heartbeats' then
    delete from public.heartbeats where ctid = any(array(
      select place from app.rubbish_heartbeats where since < cut limit most for update skip locked));
  when 'sign_in_attempts' then
    delete from public.sign_in_attempts where id = any(array(
      select id from app.rubbish_sign_in_attempts where since < cut order by since limit most for update skip locked));
  when 'signed_out' then
    delete from public.signed_out where sign_in_id = any(array(
      select sign_in_id from app.rubbish_signed_out where since < cut order by since limit most
         for update skip locked));
  when 'security_events' then
    return app.forget_security_events(keep, most);
  when 'jobs' then
    -- procrastinate's own triggers name its tables without their schema; this ends with the function.
    perform set_config('search_path', 'jobs', true);
    delete from jobs.procrastinate_jobs where id = any(array(
      select id from app.rubbish_jobs where since < cut limit most for update skip locked));
  when 'runs' then
    delete from public.cleanup_runs where id = any(array(
      select id from app.rubbish_runs where since < cut order by since limit most for update skip locked));
  end case;
  get diagnostics gone = row_count;
  return gone;
end $f$;
"""

# A session is claimed, then its server is called, then it is finished: `cleaning_until` is lease and fence at once. No
# start begins during the lease, so the call can only meet a session that nobody has begun again; whatever else moved
# the row meanwhile shows in its status or `updated_at`, and then it stays.
SESSIONS = """
create function app.claim_rubbish_session(
  keep interval, history interval, lease interval, passed_over uuid[], servers_down text[]
) returns table (id uuid, name text, server_url text, cleared boolean, since timestamptz, claim timestamptz)
language plpgsql volatile security definer set search_path = '' as $f$
begin
  return query
    with chosen as (
      select r.id, r.cleared from app.rubbish_sessions r
       where app.session_due(r.since, r.cleared, r.needed, keep, history)
         and coalesce(r.cleaning_until < clock_timestamp(), true)
         and r.id <> all(passed_over) and (r.cleared or coalesce(r.server_url <> all(servers_down), true))
       order by r.since limit 1 for update skip locked)
    update public.whatsapp_sessions s set cleaning_until = clock_timestamp() + lease
      from chosen where s.id = chosen.id
    returning s.id, s.session_id, s.server_url, chosen.cleared, s.updated_at, s.cleaning_until;
end $f$;

create function app.finish_rubbish_session(
  wanted uuid, seen timestamptz, claimed timestamptz, keep interval, history interval
) returns text
language plpgsql volatile security definer set search_path = '' as $f$
begin
  -- Locked first and looked at in the next statement: a message that is just being stored holds the row against this.
  perform from public.whatsapp_sessions s where s.id = wanted for update;
  delete from public.whatsapp_sessions s using app.rubbish_sessions r
   where s.id = wanted and r.id = wanted and r.since = seen and r.cleaning_until = claimed
     and r.since < now() - keep and coalesce(r.needed < now() - history, true);
  if found then
    return 'deleted';
  end if;
  update public.whatsapp_sessions s set
      cleared_at = clock_timestamp(), cleaning_until = null, qr_code = null, qr_urlcode = null, qr_received_at = null,
      qr_expires_at = null, qr_count = 0, phone_code = null, phone_code_at = null, pairing_phone = null,
      scanned_at = null, device_name = null
   where s.id = wanted and s.status = 'desconectado' and s.updated_at = seen and s.cleaning_until = claimed;
  if found then
    return 'kept';
  end if;
  perform app.release_rubbish_session(wanted, claimed, false);
  return null;
end $f$;

create function app.release_rubbish_session(wanted uuid, claimed timestamptz, ask boolean) returns void
language sql volatile security definer set search_path = '' as $f$
  update public.whatsapp_sessions
     set cleaning_until = null, check_at = case when ask then now() else check_at end
   where id = wanted and cleaning_until = claimed
$f$;
"""

BELL = """
create function app.ring_cleanup() returns trigger language plpgsql set search_path = '' as $f$
begin
  perform pg_notify('live', 'cleanup:');
  if tg_op = 'INSERT' then
    perform pg_notify('cleanup', '');
  end if;
  return null;
end $f$;
create trigger ring after insert or update on public.cleanup_runs
  for each row execute function app.ring_cleanup();
"""

GRANTS = """
revoke execute on function app.session_due(timestamptz, boolean, timestamptz, interval, interval),
  app.cleanup_findings(jsonb), app.forget_security_events(interval, integer), app.clean(text, interval, integer),
  app.claim_rubbish_session(interval, interval, interval, uuid[], text[]),
  app.finish_rubbish_session(uuid, timestamptz, timestamptz, interval, interval),
  app.release_rubbish_session(uuid, timestamptz, boolean), app.ring_cleanup() from public;
grant execute on function app.cleanup_findings(jsonb) to authenticated, service_role;
grant execute on function app.clean(text, interval, integer),
  app.claim_rubbish_session(interval, interval, interval, uuid[], text[]),
  app.finish_rubbish_session(uuid, timestamptz, timestamptz, interval, interval),
  app.release_rubbish_session(uuid, timestamptz, boolean) to service_role;
"""


def upgrade() -> None:
    for part in (
        TABLES,
        ISOLATION,
        VIEWS,
        SESSION_DUE,
        FINDINGS,
        FORGET_SECURITY_EVENTS,
        CLEAN,
        SESSIONS,
        BELL,
        GRANTS,
    ):
        op.get_bind().connection.driver_connection.execute(part)
