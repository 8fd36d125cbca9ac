"""WhatsApp sessions and their WPPConnect servers: what is known of them, what happened, what is done for them."""

from psycopg import sql

from migrations.ddl import execute, install, tenant_table
from services import settings

revision = "0005_fleet"
down_revision = "0004_accounts"
branch_labels = None
depends_on = None

# --- whatsapp_sessions ------------------------------------------------------------------------------------------------

# The first statement is the overview's own table. An installation that already has it keeps it with its rows: only what
# is missing is added.
SESSIONS = """
create table if not exists public.whatsapp_sessions (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  session_id text not null,
  status text not null default 'desconectado',
  qr_code text,
  server_url text,
  last_activity timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);

alter table public.whatsapp_sessions
  -- how it is paired
  add column if not exists qr_urlcode text,
  add column if not exists qr_received_at timestamptz,
  add column if not exists qr_expires_at timestamptz,
  add column if not exists qr_count integer not null default 0,
  add column if not exists pairing_phone text,
  add column if not exists phone_code text,
  add column if not exists phone_code_at timestamptz,
  add column if not exists pairing_started_at timestamptz,
  add column if not exists scanned_at timestamptz,
  -- what its server says, and what is proved
  add column if not exists reported_state text,
  add column if not exists reported_at timestamptz,
  add column if not exists settling_since timestamptz,
  add column if not exists last_proof_at timestamptz,
  add column if not exists last_proof_kind text,
  add column if not exists questioned_at timestamptz,
  add column if not exists probed_at timestamptz,
  add column if not exists check_at timestamptz,
  add column if not exists connected_at timestamptz,
  add column if not exists phone_number text,
  add column if not exists device_name text,
  add column if not exists failure text,
  -- what is wanted of it, and its starts
  add column if not exists desired_connected boolean not null default false,
  add column if not exists ended_on_purpose_at timestamptz,
  add column if not exists start_at timestamptz,
  add column if not exists start_asked_at timestamptz,
  add column if not exists start_phone text,
  add column if not exists profile_available_at timestamptz,
  -- the secret in the URL of its webhook
  add column if not exists webhook_secret_hash bytea,
  add column if not exists webhook_secret_previous_hash bytea,
  add column if not exists webhook_secret_used_at timestamptz,
  -- its clean-up
  add column if not exists retention_lease_until timestamptz,
  add column if not exists cleared_at timestamptz;

comment on column public.whatsapp_sessions.settling_since is
  'since when the server says that it comes up and does not say CONNECTED yet';
comment on column public.whatsapp_sessions.questioned_at is
  'when WhatsApp was last asked for its life by a question that must leave the browser, or would have been';
comment on column public.whatsapp_sessions.probed_at is 'when its server was last asked whether its page lives';
comment on column public.whatsapp_sessions.desired_connected is
  'true from the moment it came up until somebody disconnects it or the phone logs it out';
comment on column public.whatsapp_sessions.ended_on_purpose_at is
  'when somebody ended it on purpose: where its server brings it back, it is ended again';
comment on column public.whatsapp_sessions.start_at is
  'a start is wanted that the server was not asked for yet: when to try it next, and the lease of whoever tries';
comment on column public.whatsapp_sessions.start_asked_at is 'when the server was last asked to start it';
comment on column public.whatsapp_sessions.start_phone is 'the number of that start, where it was by code';
comment on column public.whatsapp_sessions.profile_available_at is
  'until then a browser that is ending, or a start that nobody scanned, holds its profile';
comment on column public.whatsapp_sessions.retention_lease_until is
  'lease of a clean-up: no start may begin before it ends';
comment on column public.whatsapp_sessions.cleared_at is
  'when its data on the WPPConnect server was deleted; counts only while later than updated_at';
"""

# The overview names the columns and no more: they may be nullable, and its `timestamp` may be either type (without a
# zone it was written in UTC). What it calls connected or pairing is asked about, and nobody is shown an old QR. What
# it calls connected is also wanted: else nobody would heal it.
ADOPTION = """
do $$
declare c record;
begin
  for c in select attname from pg_attribute where attrelid = 'public.whatsapp_sessions'::regclass
             and attnum > 0 and not attisdropped and atttypid = 'timestamp'::regtype loop
    execute format('alter table public.whatsapp_sessions alter column %I drop default,'
      ' alter column %I type timestamptz using %I at time zone %L', c.attname, c.attname, c.attname, 'UTC');
  end loop;
end $$;

update public.whatsapp_sessions set
  status = coalesce(status, 'desconectado'),
  session_id = coalesce(session_id, 'user_' || user_id::text),
  server_url = coalesce(server_url, {server}),
  qr_code = null,
  created_at = coalesce(created_at, updated_at, now()),
  updated_at = coalesce(updated_at, created_at, now()),
  pairing_started_at = case when status = 'pareando' then coalesce(updated_at, created_at, now()) end,
  check_at = case when status in ('pareando', 'conectado') then now() end,
  desired_connected = status is not distinct from 'conectado';

alter table public.whatsapp_sessions
  alter column id set default gen_random_uuid(),
  alter column user_id set not null,
  alter column session_id set not null,
  alter column status set default 'desconectado', alter column status set not null,
  alter column created_at set default now(), alter column created_at set not null,
  alter column updated_at set default now(), alter column updated_at set not null;
"""

# After the adoption, whose rows may break these rules before it.
SESSION_KEYS = """
alter table public.whatsapp_sessions
  add constraint whatsapp_sessions_status_known check (status in ('desconectado', 'pareando', 'conectado')),
  add constraint whatsapp_sessions_named_after_user check (session_id = 'user_' || user_id::text);

create unique index if not exists whatsapp_sessions_user on public.whatsapp_sessions (user_id);
create unique index if not exists whatsapp_sessions_session on public.whatsapp_sessions (session_id);
create index if not exists whatsapp_sessions_status on public.whatsapp_sessions (status, updated_at);
create index if not exists whatsapp_sessions_server on public.whatsapp_sessions (server_url, status);
create index if not exists whatsapp_sessions_check on public.whatsapp_sessions (check_at) where check_at is not null;
create index if not exists whatsapp_sessions_probe
  on public.whatsapp_sessions (greatest(last_proof_at, probed_at) nulls first) where status = 'conectado';
create index if not exists whatsapp_sessions_fallen on public.whatsapp_sessions (updated_at)
  where status = 'desconectado' and failure is not null;
create index if not exists whatsapp_sessions_codes on public.whatsapp_sessions (id)
  where qr_code is not null or qr_urlcode is not null or phone_code is not null;
"""

# Only named columns are open to people: the hashes of webhook secrets are not, and ownership never changes.
SESSION_RIGHTS = """
grant select (id, user_id, session_id, status, qr_code, server_url, last_activity, created_at, updated_at,
    qr_urlcode, qr_received_at, qr_expires_at, qr_count, pairing_phone, phone_code, phone_code_at, pairing_started_at,
    scanned_at, reported_state, reported_at, settling_since, last_proof_at, last_proof_kind, questioned_at, probed_at,
    check_at, connected_at, phone_number, device_name, failure, desired_connected, ended_on_purpose_at, start_at,
    start_asked_at, start_phone, profile_available_at, retention_lease_until)
  on public.whatsapp_sessions to authenticated;
grant insert (user_id, session_id, status, server_url) on public.whatsapp_sessions to authenticated;
grant update (status, qr_code, server_url, last_activity, updated_at,
    qr_urlcode, qr_received_at, qr_expires_at, qr_count, pairing_phone, phone_code, phone_code_at, pairing_started_at,
    scanned_at, reported_state, reported_at, settling_since, last_proof_at, last_proof_kind, questioned_at, probed_at,
    check_at, connected_at, phone_number, device_name, failure, desired_connected, ended_on_purpose_at, start_at,
    start_asked_at, start_phone, profile_available_at, webhook_secret_hash)
  on public.whatsapp_sessions to authenticated;
create policy sessions_of_owner_or_staff on public.whatsapp_sessions to authenticated
  using ((select auth.uid()) = user_id or (select app.is_staff()))
  with check ((select auth.uid()) = user_id or (select app.is_staff()));
"""

# --- what happened to a session ---------------------------------------------------------------------------------------

# `session_hours` counts deliveries: the usual hours that a silence is compared with.
HISTORY = """
create table public.session_timeline (
  id bigint generated always as identity primary key,
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid not null,
  occurred_at timestamptz not null default clock_timestamp(),
  kind text not null check (kind in ('state', 'staff', 'health')),
  action text not null,
  outcome text,
  detail jsonb not null default '{}',
  actor_id uuid default auth.uid(),
  request_id text
);
create index session_timeline_of_session on public.session_timeline (session_id, id desc);
create index session_timeline_in_time on public.session_timeline (occurred_at);
create index session_timeline_states on public.session_timeline (session_id, occurred_at)
  where kind = 'state' and action in ('desconectado', 'pareando', 'conectado');
comment on column public.session_timeline.kind is 'state: it changed by itself or by its user; staff: somebody of the '
  'staff did something; health: the worker found or healed something';
comment on column public.session_timeline.outcome is 'ok, failed, or null where there is none';

create table public.session_hours (
  session text not null,
  hour timestamptz not null,
  events integer not null,
  last_at timestamptz not null,
  primary key (session, hour)
);
create index session_hours_in_time on public.session_hours (hour);

create table public.fleet_samples (
  sampled_at timestamptz primary key,
  figures jsonb not null
);
"""

# What is wrong with which session or server, and how far its healing has come.
INCIDENTS = """
create table public.incidents (
  id bigint generated always as identity primary key,
  session_id uuid references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid,
  server_url text,
  kind text not null check (kind in ('zombie', 'dropped', 'stuck', 'silent', 'not_scanned', 'logged_out', 'unacked',
    'server_down')),
  state text not null default 'open' check (state in ('open', 'needs_phone', 'needs_person', 'healed', 'over')),
  steps integer not null default 0,
  detected_at timestamptz not null default clock_timestamp(),
  acted_at timestamptz,
  due_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  notified_at timestamptz,
  check ((session_id is null) = (kind = 'server_down')),
  check ((ended_at is null) = (state in ('open', 'needs_phone', 'needs_person')))
);
create unique index incidents_one on public.incidents (session_id, kind) where ended_at is null;
create unique index incidents_one_of_server on public.incidents (server_url, kind)
  where ended_at is null and session_id is null;
create index incidents_of_session on public.incidents (session_id, id desc);
create index incidents_due on public.incidents (due_at) where state = 'open';
create index incidents_untold on public.incidents (id) where notified_at is null;
create index incidents_told on public.incidents (kind, server_url, notified_at) where notified_at is not null;
create index incidents_ended on public.incidents (ended_at) where ended_at is not null;
comment on column public.incidents.steps is 'how many steps of its ladder were tried';
comment on column public.incidents.due_at is 'when the next step, or the verdict on the last one, is due';
comment on column public.incidents.notified_at is
  'when it was posted to the alert address, or passed over by its cool-down';
"""

# The timeline is append-only by these rights: what is past its retention is deleted by functions of the database's
# owner.
HISTORY_RIGHTS = """
grant insert (session_id, user_id, kind, action, outcome, detail, request_id) on public.session_timeline
  to authenticated;
create policy session_timeline_by_staff on public.session_timeline for insert to authenticated
  with check ((select app.is_staff()) and kind = 'staff');
"""

# --- restarts of many sessions ----------------------------------------------------------------------------------------

ROLLING_RESTARTS = """
create table public.rolling_restarts (
  id bigint generated always as identity primary key,
  actor_id uuid not null,
  server_url text,
  paused boolean not null default false,
  cancelled boolean not null default false,
  created_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz
);
create unique index rolling_restarts_one on public.rolling_restarts ((true)) where ended_at is null;
comment on column public.rolling_restarts.server_url is 'whose sessions; null: all servers';

create table public.rolling_restart_items (
  rolling_restart_id bigint not null references public.rolling_restarts (id) on delete cascade,
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid not null,
  server_url text not null,
  state text not null default 'waiting' check (state in ('waiting', 'under_way', 'done', 'failed', 'left_out')),
  started_at timestamptz,
  primary key (rolling_restart_id, session_id)
);
create index rolling_restart_items_open on public.rolling_restart_items (rolling_restart_id, server_url)
  where state in ('waiting', 'under_way');
"""

# Staff ask for a rolling restart, pause it and end it; what becomes of each session only the worker writes.
ROLLING_RESTART_RIGHTS = """
grant insert (actor_id, server_url), update (paused, cancelled, ended_at) on public.rolling_restarts to authenticated;
create policy rolling_restarts_by_staff on public.rolling_restarts for insert to authenticated
  with check ((select app.is_staff()) and (select auth.uid()) = actor_id);
create policy rolling_restarts_held_by_staff on public.rolling_restarts for update to authenticated
  using ((select app.is_staff()) and ended_at is null) with check ((select app.is_staff()));
grant insert (rolling_restart_id, session_id, user_id, server_url) on public.rolling_restart_items to authenticated;
create policy rolling_restart_items_by_staff on public.rolling_restart_items for insert to authenticated
  with check ((select app.is_staff()) and state = 'waiting');
"""

# --- servers ----------------------------------------------------------------------------------------------------------

# The configuration says which servers there are and keeps their secrets; a row holds only what staff decide (capacity,
# draining) and what the last look found. The row of a server that is no longer configured stays, and the server gets no
# new session.
SERVERS = """
create table public.wpp_servers (
  url text primary key,
  number integer generated always as identity,
  capacity integer not null default 100 check (capacity between 0 and 100000),
  drained_at timestamptz,
  healthy boolean,
  state_since timestamptz,
  checked_at timestamptz,
  latency_ms integer,
  version text,
  started_at timestamptz,
  error text,
  error_detail text,
  error_at timestamptz,
  scanned_at timestamptz,
  warnings text[] not null default '{}'
);
comment on column public.wpp_servers.number is 'what people call it by: its address never leaves the processes';
comment on column public.wpp_servers.drained_at is 'since when it gets no new session; null: it gets them';
comment on column public.wpp_servers.healthy is 'null: never looked at';
comment on column public.wpp_servers.state_since is 'since when it is as healthy says';
comment on column public.wpp_servers.error is 'code of the newest failure, kept after the recovery';
"""

# An admin decides; what a look found is written only by functions of the database's owner.
SERVER_RIGHTS = """
grant update (capacity, drained_at) on public.wpp_servers to authenticated;
create policy wpp_servers_by_admin on public.wpp_servers for update to authenticated
  using ((select app.is_admin())) with check ((select app.is_admin()));
"""

# What came of holding a server against the contract: the newest check of each of its versions.
SERVER_CHECKS = """
create table public.server_checks (
  id bigint generated always as identity primary key,
  url text not null references public.wpp_servers (url) on delete cascade,
  version text,
  steps smallint not null check (steps > 0),
  done smallint not null default 0 check (done >= 0),
  facts jsonb not null default '[]',
  error text,
  started_at timestamptz not null default now(),
  finished_at timestamptz
);
create unique index server_checks_running on public.server_checks (url) where finished_at is null;
create unique index server_checks_of_version on public.server_checks (url, coalesce(version, ''))
  where finished_at is not null;
comment on column public.server_checks.version is 'null: the server told none';
comment on column public.server_checks.done is 'how many of its steps are known';
comment on column public.server_checks.facts is 'name, outcome, expected, answered of each fact: types and known words';
comment on column public.server_checks.error is 'code of what kept it from being looked at';
comment on column public.server_checks.finished_at is 'null: it runs, or was cut off';
"""

# An admin asks for a check, and it is written as whoever asked, or by the worker.
SERVER_CHECK_RIGHTS = """
grant insert, update, delete on public.server_checks to authenticated;
create policy server_checks_by_admin on public.server_checks to authenticated
  using ((select app.is_admin())) with check ((select app.is_admin()));
"""

# --- proofs of life ---------------------------------------------------------------------------------------------------

# Nobody may read whose numbers are asked about, except the worker.
PROOF_QUESTIONS = """
create table public.proof_questions (
  id bigint generated always as identity primary key,
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  server_url text not null,
  phone text not null,
  reason text not null check (reason in ('quiet', 'suspect', 'neighbour', 'again')),
  certain boolean not null,
  asked_at timestamptz not null default clock_timestamp(),
  answered_at timestamptz
);
create index proof_questions_of_session on public.proof_questions (session_id, asked_at);
create index proof_questions_quiet on public.proof_questions (server_url, asked_at) where reason = 'quiet';
create index proof_questions_asked on public.proof_questions (asked_at);
comment on table public.proof_questions is 'questions about a number whose answer WhatsApp must give; kept for days';
comment on column public.proof_questions.phone is
  'about whom: often another session''s number, so nobody but the worker reads it';
comment on column public.proof_questions.certain is
  'false: the number may be a contact''s, for which the browser answers by itself';
"""


def upgrade() -> None:
    server = next(iter(settings.get().wppconnect.servers()))
    execute(SESSIONS)
    execute(sql.SQL(ADOPTION).format(server=sql.Literal(server)))
    execute(SESSION_KEYS)
    tenant_table("whatsapp_sessions", read_by="nobody", definer="all")
    execute(SESSION_RIGHTS)

    execute(HISTORY)
    execute(INCIDENTS)
    tenant_table("session_timeline", read_by="owner_or_staff", system="select, insert", definer="all")
    tenant_table("session_hours", read_by="staff", definer="read")
    tenant_table("fleet_samples", read_by="staff", definer="read")
    tenant_table("incidents", read_by="owner_or_staff", definer="read")
    execute(HISTORY_RIGHTS)

    execute(ROLLING_RESTARTS)
    tenant_table("rolling_restarts", read_by="staff", definer="read")
    tenant_table("rolling_restart_items", read_by="staff", definer="read")
    execute(ROLLING_RESTART_RIGHTS)

    execute(SERVERS)
    execute(SERVER_CHECKS)
    tenant_table("wpp_servers", read_by="staff", system="select", definer="all")
    tenant_table("server_checks", read_by="staff")
    execute(SERVER_RIGHTS)
    execute(SERVER_CHECK_RIGHTS)

    execute(PROOF_QUESTIONS)
    tenant_table("proof_questions", read_by="nobody")

    install("rotate_webhook_secret", "record_session_state")
    install("register_servers", "choose_server", "record_server_check", "record_server_scan")
    install("notify_session", "notify_check", "notify_health", "notify_incident", "notify_rolling_restart")
