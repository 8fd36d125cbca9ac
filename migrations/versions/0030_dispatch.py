"""What a lane's turn needs to be cheap, a message that its owner takes back, and doubts that a person decides."""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

# One column says when a lane's turn is, so that a pick reads the first entries of one index however much waits.
LANES = """
alter table public.lanes add column ready_at timestamptz generated always as (
  case when stopped_at is null and due_at is not null then greatest(free_at, due_at) end) stored;
create index lanes_ready on public.lanes (ready_at) where ready_at is not null;
drop index public.lanes_due;
comment on column public.lanes.ready_at is 'when the lane is free, due and not stopped: its turn';
"""

MESSAGES = """
alter table public.messages drop constraint messages_state_check;
alter table public.messages add constraint messages_state_check check (state in ('queued', 'sending', 'accepted',
  'sent', 'delivered', 'read', 'failed', 'uncertain', 'cancelled', 'received'));
alter table public.messages
  add column decided_at timestamptz,
  add column decision text check (decision in ('left', 'again', 'dropped'));
create index messages_uncertain on public.messages (user_id, seq) where state = 'uncertain';
comment on column public.messages.decision is
  'what its owner made of a doubt: it had left, it had not and was queued again, or it was let go';
"""

# A person may take back what has not begun to leave, and end a doubt. What the worker has in hand it alone moves.
ISOLATION = """
grant update (state, failure, ended_at, sent_at, reconcile_at, decided_at, decision, updated_at) on public.messages
  to authenticated;
create policy messages_decided_by_owner on public.messages for update to authenticated
  using ((select auth.uid()) = user_id and direction = 'out' and state in ('queued', 'uncertain'))
  with check ((select auth.uid()) = user_id and direction = 'out'
    and (state = 'cancelled' or (state in ('sent', 'failed') and decision is not null)));
"""

# How many wait for a person, for staff: of texts and numbers nothing.
COUNTS = """
create function app.uncertain_counts() returns table (user_id uuid, waiting bigint, oldest timestamptz)
language sql stable security definer set search_path = '' as $f$
  select m.user_id, count(*), min(m.uncertain_at) from public.messages m
   where m.state = 'uncertain' and m.reconcile_at is null and app.is_staff() group by m.user_id
$f$;
revoke all on function app.uncertain_counts() from public, anon;
grant execute on function app.uncertain_counts() to authenticated;
"""

# The story of a message is told to staff without what it carries, also where that is no text.
EVIDENCE = """
create or replace function app.message_evidence(message uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $f$
begin
  return (
    select (to_jsonb(m) - array['body', 'idempotency_key', 'request_id', 'contact_name', 'filename', 'detail',
        'media_sha256', 'quoted_wpp_id']) || jsonb_build_object(
        'now', clock_timestamp(),
        'session_name', s.session_id,
        'session_status', s.status,
        'worker_at', (select max(h.at) from public.heartbeats h where h.process = 'worker'),
        'lane_free_at', (select l.free_at from public.lanes l where l.session_id = m.session_id),
        'ahead', (select count(*) from public.messages q where q.session_id = m.session_id and q.state = 'queued'
          and m.state = 'queued' and (q.run_at, q.seq) < (m.run_at, m.seq)),
        'parked', coalesce((select jsonb_agg(jsonb_build_object('ack', p.ack, 'at', p.at, 'lid', p.wpp_id like '%@lid%')
          order by p.at) from public.parked_acks p where p.session_id = m.session_id
            and split_part(p.wpp_id, '_', 3) = split_part(m.wpp_id, '_', 3)), '[]'))
      from public.messages m join public.whatsapp_sessions s on s.id = m.session_id
     where m.id = message and m.direction = 'out' and (m.user_id = auth.uid() or app.is_staff()));
end $f$;
"""

# A NOTIFY makes commits wait for each other. Where many messages move a second, who moves them rings once they are
# committed (`services.db.notify.ring`) and says so in its transaction; whoever does not is heard as before.
BELL = """
drop trigger ring on public.messages;
create trigger ring after insert or update of state on public.messages
  for each row when (coalesce(current_setting('app.rings_later', true), '') <> 'on')
  execute function app.ring_message();
"""


def upgrade() -> None:
    for part in (LANES, MESSAGES, ISOLATION, COUNTS, EVIDENCE, BELL):
        op.get_bind().connection.driver_connection.execute(part)
