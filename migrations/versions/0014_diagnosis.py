"""The evidence from which a session and a message are diagnosed: facts with their times, never contents."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# Partial, so that the receiver's insert does not pay: a row enters once the worker has handled it. What still waits is
# found by `events_waiting`.
INDEXES = """
create index events_of_session on public.events (session, id) where verdict <> 'received';
create index security_events_refused on public.security_events (subject, at)
  where kind = 'webhook_refused';
"""

MOMENTS = """
alter table public.messages
  add column claimed_at timestamptz, add column uncertain_at timestamptz, add column reconciled_at timestamptz;
comment on column public.messages.claimed_at is 'when a worker last took the message up';
comment on column public.messages.uncertain_at is 'when it became unknown whether the message left';
comment on column public.messages.reconciled_at is 'when an uncertain message was found in its chat';
"""

# An owner may not read events, nor staff messages, yet both must learn what happened. A QR and a code are told apart by
# a digest, of which 48 bits are enough. Every look is bounded: the newest 1,000 events and 200 messages of the session.
SESSION_EVIDENCE = r"""
create function app.session_evidence(owner uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $f$
declare
  s public.whatsapp_sessions;
  begun timestamptz;
  facts jsonb;
begin
  if owner is distinct from auth.uid() and not app.is_staff() then
    return null;
  end if;
  select * into s from public.whatsapp_sessions where user_id = owner;
  begun := coalesce(s.pairing_started_at, s.created_at);

  with recent as materialized (
    select e.id, e.kind, e.received_at as at, e.verdict, e.current_secret, e.dedupe_key, octet_length(e.body) as bytes
      from public.events e where e.session = s.session_id and e.verdict <> 'received' order by e.id desc limit 1000
  ), waiting as (
    select w.received_at as at from (
      select session, received_at from public.events where verdict = 'received' order by id desc limit 1000) w
     where w.session = s.session_id
  ), signals as (
    select r.id, r.kind, r.at, substring(e.body from '"status"\s*:\s*"([A-Za-z]{1,40})"') as word,
           case when r.kind in ('qrcode', 'phoneCode') then left(md5(coalesce(
             substring(e.body from '"(?:urlcode|phoneCode)"\s*:\s*"([^"]+)"'), e.body)), 12) end as mark
      from recent r join public.events e on e.id = r.id
     where r.kind in ('status-find', 'closesession', 'logoutsession', 'qrcode', 'phoneCode')
       and r.verdict <> 'duplicate' and r.at > now() - interval '7 days'
     order by r.id desc limit 200
  ), up as (
    select id, at from signals where word = 'inChat' order by id desc limit 1
  ), sessionless as (
    select r.at from (select * from recent where bytes < 65536 order by id desc limit 20) r
      join public.events e on e.id = r.id where e.body !~ '"session"\s*:'
  ), doubled as (
    select r.at, r.kind = 'onmessage' and exists (
             select from public.events first join public.events second on second.id = r.id
              where first.dedupe_key = r.dedupe_key and first.verdict <> 'duplicate'
                and md5(first.body) <> md5(second.body)) as differs
      from (select * from recent where verdict = 'duplicate' order by id desc limit 20) r
  )
  select jsonb_build_object(
    'now', clock_timestamp(),
    'begun', begun,
    'secret_used_at', s.webhook_secret_used_at,
    'qr_count', s.qr_count,
    'worker_at', (select max(h.at) from public.heartbeats h where h.process = 'worker'),
    'waiting_since', (select e.received_at from public.events e where e.verdict = 'received' order by e.id limit 1),
    'delivered_at', (select max(x.at) from (select at from recent union all select at from waiting) x),
    'earlier_address', coalesce((select not current_secret from recent order by id desc limit 1), false),
    'refused', (select jsonb_build_object('count', count(*), 'at', max(at)) from public.security_events
      where kind = 'webhook_refused' and subject = s.session_id and at >= greatest(begun, now() - interval '1 day')),
    'signals', coalesce((select jsonb_agg(jsonb_build_object('kind', kind, 'at', at, 'word', word, 'mark', mark)
      order by id desc) from signals), '[]'),
    'sessionless', (select jsonb_build_object('count', count(*), 'at', max(at)) from sessionless),
    'doubled', (select jsonb_build_object('count', count(*), 'at', max(at)) from doubled where not differs),
    'reused', (select jsonb_build_object('count', count(*), 'at', max(at)) from doubled where differs),
    'largest', (select jsonb_build_object('count', bytes, 'at', at) from recent order by bytes desc limit 1),
    'restarted', (select count(distinct n.session) from up join public.events n
        on n.id between up.id - 2000 and up.id + 2000
      join public.whatsapp_sessions o on o.session_id = n.session and o.server_url = s.server_url and o.id <> s.id
      where n.kind = 'status-find' and n.received_at between up.at - interval '1 minute' and up.at + interval '1 minute'
        and o.connected_at < n.received_at - interval '5 seconds' and n.body ~ '"status"\s*:\s*"inChat"'),
    'fallen', (select count(*) from public.whatsapp_sessions o
      where s.status = 'desconectado' and o.server_url = s.server_url and o.id <> s.id and o.status = 'desconectado'
        and o.failure in ('lost', 'server_closed', 'browser_closed')
        and o.updated_at between s.updated_at - interval '5 minutes' and s.updated_at + interval '5 minutes'),
    'neighbours', (select count(*) from public.whatsapp_sessions o
      where o.server_url = s.server_url and o.id <> s.id and o.status = 'conectado')
  ) into facts;

  with mine as materialized (
    select m.* from public.messages m where m.user_id = owner and m.direction = 'out' order by m.seq desc limit 200
  ), told as (
    select m.seq, m.state, m.accepted_at, jsonb_build_object('id', m.id, 'phone', m.phone, 'address', m.address,
             'wpp_id', m.wpp_id, 'state', m.state, 'failure', m.failure, 'created_at', m.created_at,
             'accepted_at', m.accepted_at, 'sent_at', m.sent_at, 'uncertain_at', m.uncertain_at,
             'reconciled_at', m.reconciled_at, 'lid_ack', exists (
               select from public.parked_acks p where p.session_id = s.id and p.wpp_id like '%@lid%'
                 and split_part(p.wpp_id, '_', 3) = split_part(m.wpp_id, '_', 3))) as story
      from mine m
     where m.seq = (select max(seq) from mine) or m.state in ('accepted', 'uncertain')
  )
  select facts || jsonb_build_object(
    'acked_at', (select max(greatest(m.sent_at, m.delivered_at, m.read_at)) from mine m),
    'before_the_end', (select count(*) from mine m, (select coalesce(
        (select (x ->> 'at')::timestamptz from jsonb_array_elements(facts -> 'signals') x
          where x ->> 'word' = 'disconnectedMobile' limit 1), s.reported_at) as at) last
      where m.sending_at between last.at - interval '10 minutes' and last.at),
    'last', (select story from told order by seq desc limit 1),
    'unacknowledged', (select story from told where state = 'accepted' and accepted_at < now() - interval '1 minute'
      order by seq desc limit 1),
    'uncertain', (select story from told where state = 'uncertain' order by seq desc limit 1)
  ) into facts;
  return facts;
end $f$;
revoke execute on function app.session_evidence from public;
grant execute on function app.session_evidence to authenticated;
"""

MESSAGE_EVIDENCE = """
create function app.message_evidence(message uuid) returns jsonb
language plpgsql stable security definer set search_path = '' as $f$
begin
  return (
    select (to_jsonb(m) - array['body', 'idempotency_key', 'request_id', 'contact_name']) || jsonb_build_object(
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
revoke execute on function app.message_evidence from public;
grant execute on function app.message_evidence to authenticated;

create function app.message_acks(message uuid, keys uuid[]) returns table (key uuid, received_at timestamptz)
language plpgsql stable security definer set search_path = '' as $f$
begin
  return query
    select e.dedupe_key, e.received_at
      from public.messages m join public.whatsapp_sessions s on s.id = m.session_id
      join public.events e on e.session = s.session_id and e.kind = 'onack'
     where m.id = message and (m.user_id = auth.uid() or app.is_staff())
       and e.dedupe_key = any(keys) and e.verdict <> 'duplicate';
end $f$;
revoke execute on function app.message_acks from public;
grant execute on function app.message_acks to authenticated;
"""

# Row level security binds the owner too, as whom these functions run.
OWNER = """
do $$ begin
  execute 'create policy lanes_of_diagnosis on public.lanes for select to current_user using (true)';
end $$;
"""


def upgrade() -> None:
    for part in (INDEXES, MOMENTS, OWNER, SESSION_EVIDENCE, MESSAGE_EVIDENCE):
        op.get_bind().connection.driver_connection.execute(part)
