"""Figures of the messages by quarter hour, kept up to date from what a trigger notes; the metrics of each process."""

from alembic import op
from psycopg import sql
from sqlalchemy import make_url

from services import settings

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

# Quarter hours, because every time zone of today begins its hours and days on one: any period of any zone is a sum.
# A day (UTC) sums up one person's quarters for the ranking; a row without a person sums up everybody's.
TABLES = """
create table public.report_figures (
  span text not null check (span in ('quarter', 'day')),
  user_id uuid references auth.users (id) on delete cascade,
  starts_at timestamptz not null,
  direction text not null check (direction in ('out', 'in')),
  template_id uuid,
  campaign_id uuid,
  failure text,
  total integer not null,
  waiting integer not null,
  sent integer not null,
  delivered integer not null,
  read integer not null,
  failed integer not null,
  uncertain integer not null,
  opt_outs integer not null,
  delivery_count integer not null,
  delivery_ms bigint not null,
  reading_count integer not null,
  reading_ms bigint not null,
  response_count integer not null,
  response_ms bigint not null,
  constraint report_figures_one unique nulls not distinct
    (span, user_id, starts_at, direction, template_id, campaign_id, failure)
);
create index report_figures_in_time on public.report_figures (span, starts_at);
comment on table public.report_figures is 'what the messages come to, by when they were to leave; made from them alone';
comment on column public.report_figures.user_id is 'null: everybody';
comment on column public.report_figures.sent is 'those that reached delivered and read included';

create table public.report_times (
  user_id uuid references auth.users (id) on delete cascade,
  starts_at timestamptz not null,
  measure text not null check (measure in ('delivery', 'reading', 'response')),
  band smallint not null,
  messages integer not null,
  constraint report_times_one unique nulls not distinct (user_id, starts_at, measure, band)
);
create index report_times_in_time on public.report_times (starts_at);
comment on column public.report_times.band is
  'a time of at most 2 ^ (band / 2) seconds, and longer than the band below it: two bands each time it doubles';

create table public.report_dirty (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  quarter timestamptz not null,
  phone text,
  at timestamptz not null default clock_timestamp()
);
comment on table public.report_dirty is 'quarters whose figures are no longer those of the messages, as often as noted';
comment on column public.report_dirty.phone is 'the chat that changed: an answer after it may take another time now';

create table public.process_metrics (
  process text not null,
  instance text not null,
  at timestamptz not null default clock_timestamp(),
  samples jsonb not null,
  primary key (process, instance)
);
comment on table public.process_metrics is 'what each process counts, for whoever scrapes; no row of it names anybody';
"""

# A chat in its order, to find what an answer answers; a person's messages in time, to count a quarter anew.
INDEXES = """
create index messages_in_time on public.messages (user_id, run_at);
create index messages_of_chat on public.messages (user_id, phone, run_at, seq);
create index opt_outs_in_time on public.opt_outs (user_id, at);
create index session_timeline_states on public.session_timeline (session_id, at)
  where kind = 'state' and what in ('desconectado', 'pareando', 'conectado');
"""

# People read figures, never the texts behind them; only the worker writes them.
ISOLATION = """
do $$
declare t text;
begin
  foreach t in array array['report_figures', 'report_times', 'report_dirty', 'process_metrics'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('alter table public.%I force row level security', t);
    execute format('revoke all on public.%I from public, anon, authenticated, service_role', t);
    execute format('grant select, insert, update, delete on public.%I to service_role', t);
    execute format('create policy %I on public.%I to service_role using (true) with check (true)',
      t || '_of_system', t);
  end loop;
  foreach t in array array['report_figures', 'report_times'] loop
    execute format('grant select on public.%I to authenticated', t);
    execute format('create policy %I on public.%I for select to authenticated
      using ((select auth.uid()) = user_id or (select app.is_staff()))', t || '_of_owner_or_staff', t);
  end loop;
  foreach t in array array['report_dirty', 'process_metrics'] loop
    execute format('create policy %I on public.%I to current_user using (true) with check (true)',
      t || '_noted', t);
  end loop;
  execute format('revoke all on sequence %s from public, anon, authenticated',
    pg_get_serial_sequence('public.report_dirty', 'id'));
end $$;
"""

# Appended: a unique row for each quarter would make transactions wait for each other, and wait in a circle where they
# note several. Many messages may come or go in one statement, but each moves on in one of its own: there a trigger for
# each row is the cheaper one, and what only takes a message up again does not even call it.
TRIGGERS = """
create function app.quarter_of(moment timestamptz) returns timestamptz
language sql immutable parallel safe as $f$
  select date_bin('15 minutes', moment, timestamptz '2000-01-01 00:00:00+00')
$f$;
revoke execute on function app.quarter_of from public;
grant execute on function app.quarter_of to service_role;

create function app.note_new_messages() returns trigger
language plpgsql security definer set search_path = '' as $f$
begin
  insert into public.report_dirty (user_id, quarter, phone)
    select distinct n.user_id, app.quarter_of(n.run_at), n.phone from changed n;
  return null;
end $f$;

create function app.note_moved_message() returns trigger
language plpgsql security definer set search_path = '' as $f$
begin
  insert into public.report_dirty (user_id, quarter, phone) values (new.user_id, app.quarter_of(new.run_at), new.phone);
  if (old.run_at, old.phone) is distinct from (new.run_at, new.phone) then
    insert into public.report_dirty (user_id, quarter, phone)
      values (old.user_id, app.quarter_of(old.run_at), old.phone);
  end if;
  return null;
end $f$;

create function app.note_opt_outs() returns trigger
language plpgsql security definer set search_path = '' as $f$
begin
  insert into public.report_dirty (user_id, quarter) select distinct c.user_id, app.quarter_of(c.at) from changed c;
  return null;
end $f$;
revoke execute on function app.note_new_messages, app.note_moved_message, app.note_opt_outs from public;

create trigger note_new after insert on public.messages
  referencing new table as changed for each statement execute function app.note_new_messages();
create trigger note_gone after delete on public.messages
  referencing old table as changed for each statement execute function app.note_new_messages();
create trigger note_moved after update of state, failure, run_at, sending_at, delivered_at, read_at, phone, template_id,
    schedule_id, campaign_id on public.messages for each row
  when ((new.state, new.failure, new.run_at, new.sending_at, new.delivered_at, new.read_at, new.phone, new.template_id,
         new.schedule_id, new.campaign_id)
    is distinct from (old.state, old.failure, old.run_at, old.sending_at, old.delivered_at, old.read_at, old.phone,
         old.template_id, old.schedule_id, old.campaign_id))
  execute function app.note_moved_message();
create trigger note_opt_out after insert on public.opt_outs
  referencing new table as changed for each statement execute function app.note_opt_outs();
create trigger note_opt_in after delete on public.opt_outs
  referencing old table as changed for each statement execute function app.note_opt_outs();
"""

# A first pairing begins with an insert, which the timeline's own trigger does not see.
FIRST_PAIRING = """
create trigger note_first_state after insert on public.whatsapp_sessions for each row
  when (new.status = 'pareando') execute function app.note_session_state();
"""

# The console's login can become nobody who may write; what it counts passes through here, and nothing else does.
METRICS = """
create function app.note_metrics(process text, instance text, samples jsonb) returns void
language sql security definer set search_path = '' as $f$
  delete from public.process_metrics where at < clock_timestamp() - interval '1 day';
  insert into public.process_metrics (process, instance, samples)
    select left($1, 40), left($2, 200), $3 where pg_column_size($3) < 262144
    on conflict (process, instance) do update set at = clock_timestamp(), samples = excluded.samples
$f$;
revoke execute on function app.note_metrics from public;
grant execute on function app.note_metrics to {console}, service_role;
"""

# What is there already is counted by the worker's first round.
EARLIER = """
insert into public.report_dirty (user_id, quarter)
  select distinct user_id, app.quarter_of(run_at) from public.messages
  union select user_id, app.quarter_of(at) from public.opt_outs;
"""


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    console = make_url(settings.get().console_database_url.get_secret_value()).username or ""
    for part in (TABLES, INDEXES, ISOLATION, TRIGGERS, FIRST_PAIRING, EARLIER):
        driver.execute(part)
    driver.execute(sql.SQL(METRICS).format(console=sql.Identifier(console)))
