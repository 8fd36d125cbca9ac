"""`whatsapp_sessions` as the overview gives it, with what we proved beside what the server says; `lanes`; the bell."""

from alembic import op
from psycopg import sql

from services import settings

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# An installation that already has the overview's table keeps its rows: only what is missing is added.
TABLE = """
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
  add column if not exists qr_urlcode text,
  add column if not exists qr_received_at timestamptz,
  add column if not exists qr_expires_at timestamptz,
  add column if not exists qr_count integer not null default 0,
  add column if not exists pairing_phone text,
  add column if not exists phone_code text,
  add column if not exists phone_code_at timestamptz,
  add column if not exists pairing_started_at timestamptz,
  add column if not exists scanned_at timestamptz,
  add column if not exists reported_state text,
  add column if not exists reported_at timestamptz,
  add column if not exists last_proof_at timestamptz,
  add column if not exists last_proof_kind text,
  add column if not exists connected_at timestamptz,
  add column if not exists phone_number text,
  add column if not exists device_name text,
  add column if not exists failure text,
  add column if not exists check_at timestamptz,
  add column if not exists webhook_secret_hash bytea,
  add column if not exists webhook_secret_previous_hash bytea,
  add column if not exists webhook_secret_used_at timestamptz;
"""

# The overview names the columns and no more: they may be nullable, and its `timestamp` may be either type (without a
# zone it was written in UTC). What it calls connected or pairing is asked about, and nobody is shown an old QR.
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
  check_at = case when status in ('pareando', 'conectado') then now() end;
alter table public.whatsapp_sessions
  alter column id set default gen_random_uuid(),
  alter column user_id set not null,
  alter column session_id set not null,
  alter column status set default 'desconectado', alter column status set not null,
  alter column created_at set default now(), alter column created_at set not null,
  alter column updated_at set default now(), alter column updated_at set not null;
"""

KEYS = """
create unique index if not exists whatsapp_sessions_user on public.whatsapp_sessions (user_id);
create unique index if not exists whatsapp_sessions_session on public.whatsapp_sessions (session_id);
create index if not exists whatsapp_sessions_check on public.whatsapp_sessions (check_at) where check_at is not null;
create index if not exists whatsapp_sessions_status on public.whatsapp_sessions (status, updated_at);
alter table public.whatsapp_sessions
  add constraint whatsapp_sessions_status_known check (status in ('desconectado', 'pareando', 'conectado')),
  add constraint whatsapp_sessions_named_after_user check (session_id = 'user_' || user_id::text);

create table public.lanes (
  session_id uuid primary key references public.whatsapp_sessions (id) on delete cascade,
  free_at timestamptz not null default '-infinity',
  due_at timestamptz
);
insert into public.lanes (session_id) select id from public.whatsapp_sessions;
create index lanes_due on public.lanes (due_at) where due_at is not null;
comment on column public.lanes.free_at is 'lease, back-off and pace at once: nobody may claim the lane before';
comment on column public.lanes.due_at is 'when its first waiting message is due; null while none waits';
"""

# Only named columns are open to people: the hashes of webhook secrets are not, and ownership never changes.
ISOLATION = """
alter table public.whatsapp_sessions enable row level security;
alter table public.whatsapp_sessions force row level security;
revoke all on public.whatsapp_sessions from public, anon, authenticated;
grant select (id, user_id, session_id, status, qr_code, server_url, last_activity, created_at, updated_at, qr_urlcode,
    qr_received_at, qr_expires_at, qr_count, pairing_phone, phone_code, phone_code_at, pairing_started_at, scanned_at,
    reported_state, reported_at, last_proof_at, last_proof_kind, connected_at, phone_number, device_name, failure,
    check_at) on public.whatsapp_sessions to authenticated;
grant insert (user_id, session_id, status, server_url) on public.whatsapp_sessions to authenticated;
grant update (status, qr_code, qr_urlcode, qr_received_at, qr_expires_at, qr_count, pairing_phone, phone_code,
    phone_code_at, pairing_started_at, scanned_at, reported_state, reported_at, connected_at, last_proof_at,
    last_proof_kind, phone_number, device_name, failure, check_at, webhook_secret_hash, last_activity, updated_at,
    server_url) on public.whatsapp_sessions to authenticated;
grant select, insert, update, delete on public.whatsapp_sessions to service_role;
create policy sessions_of_owner_or_staff on public.whatsapp_sessions to authenticated
  using ((select auth.uid()) = user_id or (select app.is_staff()))
  with check ((select auth.uid()) = user_id or (select app.is_staff()));
create policy sessions_of_system on public.whatsapp_sessions to service_role using (true) with check (true);

alter table public.lanes enable row level security;
alter table public.lanes force row level security;
revoke all on public.lanes from public, anon, authenticated;
grant select, insert, update on public.lanes to authenticated;
grant select, insert, update, delete on public.lanes to service_role;
create policy lanes_of_owner_or_staff on public.lanes to authenticated
  using (exists (select from public.whatsapp_sessions s where s.id = lanes.session_id))
  with check (exists (select from public.whatsapp_sessions s where s.id = lanes.session_id));
create policy lanes_of_system on public.lanes to service_role using (true) with check (true);
"""

# The view runs with its owner's rights, so that staff see who owns a session without any right on auth.users.
DIRECTORY = """
create view app.directory with (security_barrier) as
  select u.id as user_id, u.email::text as email, coalesce(a.name, u.email::text) as name,
         coalesce(u.raw_app_meta_data ->> 'role', 'user') as role
    from auth.users u left join public.accounts a on a.user_id = u.id
   where app.is_staff() and u.deleted_at is null;
grant select on app.directory to authenticated;
"""

# A server that we could not reach still holds the URL of the last start that it did accept, so the older secret stays
# good until the newer one has been used.
ROTATION = """
create function app.rotate_webhook_secret() returns trigger language plpgsql as $f$
begin
  if old.webhook_secret_used_at is not null then
    new.webhook_secret_previous_hash := old.webhook_secret_hash;
  end if;
  new.webhook_secret_used_at := null;
  return new;
end $f$;
create trigger rotate_webhook_secret before update of webhook_secret_hash on public.whatsapp_sessions
  for each row when (new.webhook_secret_hash is distinct from old.webhook_secret_hash)
  execute function app.rotate_webhook_secret();
"""

# Payload `<what>:<user id>`: an id and nothing private. Rows that only recorded a check ring nobody.
BELL = """
create function app.ring_session() returns trigger language plpgsql as $f$
begin
  perform pg_notify('live', 'session:' || new.user_id);
  return null;
end $f$;
create trigger ring after insert or update of status, qr_urlcode, phone_code, scanned_at, reported_state, last_proof_at,
    phone_number, device_name, failure, pairing_started_at
  on public.whatsapp_sessions for each row execute function app.ring_session();

create function app.ring_check() returns trigger language plpgsql as $f$
begin
  perform pg_notify('checks', '');
  return null;
end $f$;
create trigger ring_check after insert or update of check_at on public.whatsapp_sessions
  for each row when (new.check_at <= now()) execute function app.ring_check();
"""


def upgrade() -> None:
    server = next(iter(settings.get().servers()))
    adoption = sql.SQL(ADOPTION).format(server=sql.Literal(server))
    for part in (TABLE, adoption, KEYS, ISOLATION, DIRECTORY, ROTATION, BELL):
        op.get_bind().connection.driver_connection.execute(part)
