"""Restarts of many sessions, in waves that can be paused."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = """
create table public.waves (
  id bigint generated always as identity primary key,
  actor_id uuid not null,
  server_url text,
  paused boolean not null default false,
  created_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  cancelled boolean not null default false
);
comment on column public.waves.server_url is 'whose sessions; null: all servers';
create unique index waves_one on public.waves ((true)) where ended_at is null;

create table public.wave_items (
  wave_id bigint not null references public.waves (id) on delete cascade,
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid not null,
  server_url text not null,
  state text not null default 'waiting' check (state in ('waiting', 'under_way', 'done', 'failed', 'left_out')),
  started_at timestamptz,
  primary key (wave_id, session_id)
);
create index wave_items_open on public.wave_items (wave_id, server_url) where state in ('waiting', 'under_way');
"""

# Staff ask for a wave and hold it; what becomes of each session only the worker writes.
ISOLATION = """
do $$
declare t text;
begin
  foreach t in array array['waves', 'wave_items'] loop
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
    pg_get_serial_sequence('public.waves', 'id'));
end $$;
grant insert (actor_id, server_url), update (paused, cancelled, ended_at) on public.waves to authenticated;
grant insert (wave_id, session_id, user_id, server_url) on public.wave_items to authenticated;
create policy waves_by_staff on public.waves for insert to authenticated
  with check ((select app.is_staff()) and (select auth.uid()) = actor_id);
create policy waves_held_by_staff on public.waves for update to authenticated
  using ((select app.is_staff()) and ended_at is null) with check ((select app.is_staff()));
create policy wave_items_by_staff on public.wave_items for insert to authenticated
  with check ((select app.is_staff()) and state = 'waiting');
"""

BELL = """
create function app.ring_wave() returns trigger language plpgsql set search_path = '' as $f$
begin
  perform pg_notify('live', 'session:');
  perform pg_notify('waves', '');
  return null;
end $f$;
revoke execute on function app.ring_wave from public;
create trigger ring after insert or update on public.waves
  for each row execute function app.ring_wave();
create trigger ring after update on public.wave_items
  for each row execute function app.ring_wave();
"""


def upgrade() -> None:
    for part in (TABLES, ISOLATION, BELL):
        op.get_bind().connection.driver_connection.execute(part)
