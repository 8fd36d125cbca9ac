-- The facts from which a session is diagnosed: what happened and when, never contents. An owner may not read events,
-- nor staff messages, but both must learn it. 48 bits of a digest tell two codes apart. Each look is bounded:
-- the newest 1,000 events and 200 messages of the session.
create or replace function app.get_session_facts(owner uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
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
    -- A file came as base64, a third longer; the event keeps `"body":{"sha256":…,"size":…}` in its place. What was not
    -- put aside is large by itself.
    select e.id, e.kind, e.received_at as at, e.verdict, e.current_secret, e.dedupe_key,
           case when octet_length(e.body) > 65536 then octet_length(e.body)
                else greatest(octet_length(e.body), coalesce((substring(e.body
                  from '"body":\{"sha256":"[0-9a-f]{64}","size":([0-9]{1,12})'))::bigint * 4 / 3, 0)) end as bytes
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
    'worker_at', (select max(h.beat_at) from public.heartbeats h where h.process = 'worker'),
    'waiting_since', (select e.received_at from public.events e where e.verdict = 'received' order by e.id limit 1),
    'delivered_at', (select max(x.at) from (select at from recent union all select at from waiting) x),
    'earlier_address', coalesce((select not current_secret from recent order by id desc limit 1), false),
    'refused', (select jsonb_build_object('count', count(*), 'at', max(occurred_at)) from public.security_events
      where kind = 'webhook_refused' and subject = s.session_id
        and occurred_at >= greatest(begun, now() - interval '1 day')),
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
               select from public.pending_acks p where p.session_id = s.id and p.wpp_id like '%@lid%'
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
end $$;
revoke execute on function app.get_session_facts from public;
grant execute on function app.get_session_facts to authenticated;
