"""What certainly did not leave waits for its server or session, says why, and after a while for its owner's word."""

from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

# A back-off of its own, beside the lease: it ends the moment that what is waited for is back, and a lease never does.
# `infinity` has no turn: while its session is down a lane is not tried at all.
LANES = """
alter table public.lanes
  add column waiting_reason text check (waiting_reason in ('server', 'session', 'no_answer', 'setup', 'files')),
  add column waiting_since timestamptz,
  add column retry_at timestamptz,
  add column tries integer not null default 0,
  drop column ready_at;
alter table public.lanes add column ready_at timestamptz generated always as (
  case when stopped_at is null and due_at is not null
    then nullif(greatest(free_at, due_at, retry_at), 'infinity'::timestamptz) end) stored;
create index lanes_ready on public.lanes (ready_at) where ready_at is not null;
create index lanes_waiting on public.lanes (waiting_since) where waiting_since is not null;
comment on column public.lanes.free_at is 'lease and pace at once: nobody may claim the lane before';
comment on column public.lanes.ready_at is 'when the lane is free, due, not stopped and not waiting: its turn';
comment on column public.lanes.waiting_reason is 'why nothing leaves although it is due; null while things leave';
comment on column public.lanes.retry_at is 'when it is tried again while it waits; infinity: once its session is up';
comment on column public.lanes.tries is 'how often it was tried since it waits';
"""

MESSAGES = """
alter table public.messages
  add column waiting_reason text check (waiting_reason = 'numbers'),
  add column waiting_since timestamptz,
  add column asked_at timestamptz;
drop index public.messages_waiting;
create index messages_waiting on public.messages (session_id, run_at, seq) where state = 'queued' and asked_at is null;
create index messages_waited on public.messages (waiting_since)
  where state = 'queued' and asked_at is null and waiting_since is not null;
create index messages_asked on public.messages (user_id, seq) where state = 'queued' and asked_at is not null;
comment on column public.messages.attempts is 'how often a worker took it, which fences what each says of it';
comment on column public.messages.waiting_reason is 'why it waits where its lane does not';
comment on column public.messages.waiting_since is 'when it was first held up; kept until its owner decides';
comment on column public.messages.asked_at is 'since when its owner is asked: from then on it does not leave by itself';
"""

# Its owner may let such a message go on, and only such: what may have left never becomes `queued` again.
ISOLATION = """
grant update (run_at, waiting_reason, waiting_since, asked_at) on public.messages to authenticated;
alter policy messages_decided_by_owner on public.messages
  with check ((select auth.uid()) = user_id and direction = 'out'
    and (state = 'cancelled' or (state in ('sent', 'failed') and decision is not null)
      or (state = 'queued' and asked_at is null)));
create policy messages_never_again on public.messages as restrictive for update to authenticated
  using (true) with check (state not in ('queued', 'sending') or uncertain_at is null);
do $$ begin
  execute 'create policy lanes_held_by_owner on public.lanes to current_user using (true) with check (true)';
end $$;
"""

# Whoever moves a session moves its lane with it, in the same transaction.
HELD = """
create function app.hold_lane() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $f$
begin
  if new.status = 'conectado' then
    update public.lanes set waiting_reason = null, waiting_since = null, retry_at = null, tries = 0
     where session_id = new.id and waiting_reason is not null;
  else
    update public.lanes set waiting_reason = 'session', waiting_since = coalesce(waiting_since, clock_timestamp()),
           retry_at = 'infinity'
     where session_id = new.id and retry_at is distinct from 'infinity'::timestamptz;
  end if;
  return null;
end $f$;
create trigger hold_lane after update of status on public.whatsapp_sessions
  for each row when (old.status is distinct from new.status) execute function app.hold_lane();

create function app.begin_lane() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $f$
begin
  if exists (select from public.whatsapp_sessions s where s.id = new.session_id and s.status <> 'conectado') then
    new.waiting_reason := 'session';
    new.waiting_since := clock_timestamp();
    new.retry_at := 'infinity';
  end if;
  return new;
end $f$;
create trigger begin_lane before insert on public.lanes for each row execute function app.begin_lane();

update public.lanes l set waiting_reason = 'session', waiting_since = clock_timestamp(), retry_at = 'infinity'
  from public.whatsapp_sessions s where s.id = l.session_id and s.status <> 'conectado';
"""

# A lane forgets that it waited; what waited in it does not, so that an outage in pieces is as long as its pieces.
# Not waited for: who holds such a row is just settling or taking it back, and may be waiting for this lane.
REMEMBERED = """
create function app.remember_waiting() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $f$
begin
  update public.messages set waiting_since = greatest(run_at, old.waiting_since) where id in (
    select m.id from public.messages m
     where m.session_id = new.session_id and m.state = 'queued' and m.asked_at is null and m.waiting_since is null
       and m.run_at <= clock_timestamp() for update skip locked);
  return null;
end $f$;
create trigger remember_waiting after update of waiting_since on public.lanes
  for each row when (old.waiting_since is not null and new.waiting_since is null)
  execute function app.remember_waiting();
revoke execute on function app.hold_lane, app.begin_lane, app.remember_waiting from public;
"""

BELL = """
create function app.ring_waiting() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $f$
begin
  if new.retry_at is null then
    perform pg_notify('lanes', '');
  end if;
  if new.due_at is not null and new.waiting_reason is distinct from old.waiting_reason then
    perform pg_notify('live', what || s.user_id)
       from public.whatsapp_sessions s cross join unnest(array['message:', 'campaign:']) as topic (what)
      where s.id = new.session_id;
  end if;
  return null;
end $f$;
revoke execute on function app.ring_waiting from public;
create trigger ring_waiting after update of waiting_reason, retry_at on public.lanes for each row
  when (old.waiting_reason is distinct from new.waiting_reason or (old.retry_at is not null and new.retry_at is null))
  execute function app.ring_waiting();
"""

# A session whose messages wait for their owner's word is no less rubbish for them; they stay.
CLEANING = """
create or replace view app.rubbish_sessions as
  select s.id, s.session_id as name, s.server_url, s.updated_at as since, s.cleaning_until,
         coalesce(s.cleared_at > s.updated_at, false) as cleared,
         case when exists (select from public.messages m where m.session_id = s.id
                and (m.state = 'sending' or (m.state = 'queued' and m.asked_at is null)))
              then 'infinity'::timestamptz
              else (select max(m.created_at) from public.messages m where m.session_id = s.id) end as needed
    from public.whatsapp_sessions s
   where s.status = 'desconectado' and s.check_at is null;
"""

EVIDENCE = """
create or replace function app.message_evidence(message uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $f$
begin
  return (
    select (to_jsonb(m) - array['body', 'idempotency_key', 'request_id', 'contact_name', 'filename', 'detail',
        'media_sha256', 'quoted_wpp_id']) || jsonb_build_object(
        'now', clock_timestamp(),
        'session_name', s.session_id,
        'session_status', s.status,
        'worker_at', (select max(h.at) from public.heartbeats h where h.process = 'worker'),
        'lane_free_at', l.free_at,
        'lane_waiting_reason', l.waiting_reason,
        'lane_waiting_since', l.waiting_since,
        'ahead', (select count(*) from public.messages q where q.session_id = m.session_id and q.state = 'queued'
          and q.asked_at is null and m.state = 'queued' and (q.run_at, q.seq) < (m.run_at, m.seq)),
        'parked', coalesce((select jsonb_agg(jsonb_build_object('ack', p.ack, 'at', p.at, 'lid', p.wpp_id like '%@lid%')
          order by p.at) from public.parked_acks p where p.session_id = m.session_id
            and split_part(p.wpp_id, '_', 3) = split_part(m.wpp_id, '_', 3)), '[]'))
      from public.messages m join public.whatsapp_sessions s on s.id = m.session_id
      left join public.lanes l on l.session_id = m.session_id
     where m.id = message and m.direction = 'out' and (m.user_id = auth.uid() or app.is_staff()));
end $f$;
"""


def upgrade() -> None:
    for part in (LANES, MESSAGES, ISOLATION, HELD, REMEMBERED, BELL, CLEANING, EVIDENCE):
        op.get_bind().connection.driver_connection.execute(part)
