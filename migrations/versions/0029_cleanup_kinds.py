"""Two more things that go after their retention: entries of sessions' timelines, and deliveries that were no event."""

from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

TABLES = """
alter table public.cleanup_runs drop constraint cleanup_runs_kinds_check;
alter table public.cleanup_runs add constraint cleanup_runs_kinds_check
  check (kinds <@ array['codes', 'sessions', 'events', 'parked_acks', 'heartbeats', 'sign_in_attempts', 'signed_out',
    'security_events', 'timeline', 'jobs', 'runs']);
-- In order, for the oldest first: a BRIN index finds a day, and no first row.
drop index public.session_timeline_in_time;
create index session_timeline_in_time on public.session_timeline (at);
"""

# What is no JSON object can be replayed by nobody: it is kept to be looked at, and waits for nothing.
VIEWS = """
create view app.rubbish_timeline as select id, at as since from public.session_timeline;
create or replace view app.rubbish_events as
  select id, received_at as since from public.events
   where verdict in ('handled', 'unsupported', 'duplicate', 'invalid')
     and not (verdict = 'unsupported' and kind = 'onmessage');
"""

# A kind of rubbish is a view of its name with a `since`; only a session's retention hangs on more than its age.
FINDINGS = """
create or replace function app.cleanup_findings(keep jsonb)
returns table (kind text, found bigint, oldest timestamptz)
language plpgsql stable security definer set search_path = '' as $f$
declare
  view_name text;
begin
  if not (app.is_staff() or current_setting('role') = 'service_role') then
    raise exception 'only for staff' using errcode = 'insufficient_privilege';
  end if;
  return query
    select 'sessions', count(*), min(since) from app.rubbish_sessions
     where app.session_due(since, cleared, needed, (keep ->> 'sessions')::interval, (keep ->> 'history')::interval);
  for kind, view_name in
    select substr(c.relname, length('rubbish_') + 1), c.relname from pg_catalog.pg_class c
     where c.relnamespace = 'app'::regnamespace and c.relkind = 'v' and c.relname like 'rubbish\\_%'
       and c.relname <> 'rubbish_sessions' order by 1
  loop
    return query execute format('select $1, count(*), min(since) from app.%I where since < now() - $2', view_name)
      using kind, (keep ->> kind)::interval;
  end loop;
end $f$;
"""

# As in 0010, with one kind more.
CLEAN = """
create or replace function app.clean(kind text, keep interval, most integer) returns integer
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
  when 'timeline' then
    delete from public.session_timeline where id = any(array(
      select id from app.rubbish_timeline where since < cut order by since limit most for update skip locked));
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


def upgrade() -> None:
    for part in (TABLES, VIEWS, FINDINGS, CLEAN):
        op.get_bind().connection.driver_connection.execute(part)
