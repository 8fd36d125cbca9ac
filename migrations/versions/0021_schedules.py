"""Schedules: what is sent at a wall-clock time, once or again and again, and what became of each occurrence."""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

TABLES = """
create table public.schedules (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  name text not null check (length(name) between 1 and 80),
  zone text not null check (length(zone) between 1 and 60),
  first_wall timestamp not null,
  rule text check (length(rule) <= 200),
  kind text not null default 'chat',
  body text not null default '',
  media_sha256 bytea,
  filename text,
  detail jsonb not null default '{}',
  template_id uuid,
  template_version integer,
  recipients jsonb not null check (jsonb_typeof(recipients) = 'array'),
  next_wall timestamp,
  next_at timestamptz,
  look_at timestamptz,
  paused_at timestamptz,
  ended_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (id, user_id),
  foreign key (user_id, media_sha256) references public.media (user_id, sha256),
  check ((next_wall is null) = (next_at is null)),
  check ((template_id is null) = (template_version is null))
);
create index schedules_due on public.schedules (look_at) where look_at is not null;
create index schedules_of_user on public.schedules (user_id, next_at, id);
create index schedules_media on public.schedules (user_id, media_sha256) where media_sha256 is not null;
comment on column public.schedules.first_wall is 'on the clock of `zone`: daylight saving moves the moment';
comment on column public.schedules.rule is 'an iCalendar RRULE without its name; null: once';
comment on column public.schedules.recipients is 'phone, name and values of each';
comment on column public.schedules.look_at is 'when the worker looks next; null while paused and once ended';

create table public.schedule_runs (
  schedule_id uuid not null,
  user_id uuid not null,
  wall timestamp not null,
  due_at timestamptz not null,
  state text not null check (state in ('sent', 'missed', 'skipped')),
  reason text,
  message_ids uuid[] not null default '{}',
  left_out integer not null default 0,
  at timestamptz not null default now(),
  primary key (schedule_id, wall),
  foreign key (schedule_id, user_id) references public.schedules (id, user_id) on delete cascade
);
create index schedule_runs_of_user on public.schedule_runs (user_id, due_at desc);
comment on table public.schedule_runs is 'one row an occurrence that was decided: what makes it happen once';
comment on column public.schedule_runs.left_out is 'recipients to whom nothing went: they asked for silence';
"""

# People make and change their own; what became of an occurrence only the worker writes, but for one that is skipped.
ISOLATION = """
do $$
declare t text;
begin
  foreach t in array array['schedules', 'schedule_runs'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('alter table public.%I force row level security', t);
    execute format('revoke all on public.%I from public, anon, authenticated, service_role', t);
    execute format('grant select, insert, update, delete on public.%I to service_role', t);
    execute format('create policy %I on public.%I to service_role using (true) with check (true)',
      t || '_of_system', t);
    execute format('grant select on public.%I to authenticated', t);
    execute format('create policy %I on public.%I for select to authenticated using ((select auth.uid()) = user_id)',
      t || '_of_owner', t);
  end loop;
end $$;
grant insert (id, user_id, name, zone, first_wall, rule, kind, body, media_sha256, filename, detail, template_id,
    template_version, recipients, next_wall, next_at, look_at) on public.schedules to authenticated;
grant update (name, zone, first_wall, rule, kind, body, media_sha256, filename, detail, template_id, template_version,
    recipients, next_wall, next_at, look_at, paused_at, ended_at, updated_at) on public.schedules to authenticated;
create policy schedules_made_by_owner on public.schedules for insert to authenticated
  with check ((select auth.uid()) = user_id);
create policy schedules_changed_by_owner on public.schedules for update to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
grant insert (schedule_id, user_id, wall, due_at, state) on public.schedule_runs to authenticated;
grant delete on public.schedule_runs to authenticated;
create policy schedule_runs_skipped_by_owner on public.schedule_runs for insert to authenticated
  with check ((select auth.uid()) = user_id and state = 'skipped');
create policy schedule_runs_unskipped_by_owner on public.schedule_runs for delete to authenticated
  using ((select auth.uid()) = user_id and state = 'skipped' and due_at > now());
"""

BELL = """
create function app.ring_schedule() returns trigger language plpgsql set search_path = '' as $f$
begin
  perform pg_notify('live', 'schedule:' || new.user_id);
  perform pg_notify('schedules', '');
  return null;
end $f$;
revoke execute on function app.ring_schedule from public;
-- Not of look_at alone: that is the worker's own clock.
create trigger ring after insert or update of updated_at on public.schedules
  for each row execute function app.ring_schedule();
create function app.ring_schedule_run() returns trigger language plpgsql set search_path = '' as $f$
begin
  perform pg_notify('live', 'schedule:' || coalesce(new.user_id, old.user_id));
  return null;
end $f$;
revoke execute on function app.ring_schedule_run from public;
create trigger ring after insert or delete on public.schedule_runs
  for each row execute function app.ring_schedule_run();
"""


def upgrade() -> None:
    for part in (TABLES, ISOLATION, BELL):
        op.get_bind().connection.driver_connection.execute(part)
