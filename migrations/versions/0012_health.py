"""What is wrong with which session or server, how far its healing has come, and the fleet's figures over time."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# `wants_up` is what the owner wants, `status` what is: healing works only where the two differ.
SESSIONS = """
alter table public.whatsapp_sessions
  add column wants_up boolean not null default false,
  add column probed_at timestamptz;
comment on column public.whatsapp_sessions.wants_up is
  'true from the moment it came up until somebody disconnects it or the phone logs it out';
comment on column public.whatsapp_sessions.probed_at is 'when a sweep last took it up';
update public.whatsapp_sessions set wants_up = true where status = 'conectado';
grant select (wants_up, probed_at), update (wants_up, probed_at) on public.whatsapp_sessions to authenticated;
create index whatsapp_sessions_probe on public.whatsapp_sessions (greatest(last_proof_at, probed_at) nulls first)
  where status = 'conectado';
create index whatsapp_sessions_fallen on public.whatsapp_sessions (updated_at)
  where status = 'desconectado' and failure is not null;
create index messages_unacked on public.messages (accepted_at) where state = 'accepted';
"""

# `session_hours` counts deliveries: the usual hours that a silence is held against.
TABLES = """
create table public.findings (
  id bigint generated always as identity primary key,
  session_id uuid references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid,
  server_url text,
  kind text not null check (kind in ('zombie', 'dropped', 'stuck', 'silent', 'not_scanned', 'logged_out', 'unacked',
    'server_down')),
  state text not null default 'open' check (state in ('open', 'needs_phone', 'needs_person', 'healed', 'over')),
  found_at timestamptz not null default clock_timestamp(),
  steps integer not null default 0,
  acted_at timestamptz,
  due_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  told_at timestamptz,
  check ((session_id is null) = (kind = 'server_down')),
  check ((ended_at is null) = (state in ('open', 'needs_phone', 'needs_person')))
);
comment on column public.findings.steps is 'how many steps of its ladder were tried';
comment on column public.findings.due_at is 'when the next step, or the verdict on the last one, is due';
comment on column public.findings.told_at is 'when it was posted to the alert address, or passed over by its cool-down';
create unique index findings_one on public.findings (session_id, kind) where ended_at is null;
create unique index findings_one_of_server on public.findings (server_url, kind)
  where ended_at is null and session_id is null;
create index findings_due on public.findings (due_at) where state = 'open';
create index findings_untold on public.findings (id) where told_at is null;
create index findings_of_session on public.findings (session_id, id desc);
create index findings_told on public.findings (kind, server_url, told_at) where told_at is not null;
create index findings_ended on public.findings (ended_at) where ended_at is not null;

create table public.session_hours (
  session text not null,
  hour timestamptz not null,
  events integer not null,
  last_at timestamptz not null,
  primary key (session, hour)
);
create index session_hours_in_time on public.session_hours (hour);

create table public.fleet_samples (
  at timestamptz primary key,
  figures jsonb not null
);
"""

# People read what concerns them; only the worker writes, and the owner's functions clean up.
ISOLATION = """
do $$
declare t text;
begin
  foreach t in array array['findings', 'session_hours', 'fleet_samples'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('alter table public.%I force row level security', t);
    execute format('revoke all on public.%I from public, anon, authenticated', t);
    execute format('grant select on public.%I to authenticated', t);
    execute format('grant select, insert, update, delete on public.%I to service_role', t);
    execute format('create policy %I on public.%I to service_role using (true) with check (true)',
      t || '_of_system', t);
    execute format('create policy %I on public.%I for select to authenticated using ((select app.is_staff()))',
      t || '_of_staff', t);
  end loop;
  execute format('revoke all on sequence %s from public, anon, authenticated',
    pg_get_serial_sequence('public.findings', 'id'));
end $$;
create policy findings_of_owner on public.findings for select to authenticated
  using ((select auth.uid()) = user_id);
"""

# The fleet's page and its owner's draw a finding as they draw a changed session.
BELL = """
create function app.ring_finding() returns trigger language plpgsql set search_path = '' as $f$
begin
  perform pg_notify('live', 'session:' || coalesce(new.user_id::text, ''));
  return null;
end $f$;
revoke execute on function app.ring_finding from public;
create trigger ring after insert or update of state, steps on public.findings
  for each row execute function app.ring_finding();
"""


def upgrade() -> None:
    for part in (SESSIONS, TABLES, ISOLATION, BELL):
        op.get_bind().connection.driver_connection.execute(part)
