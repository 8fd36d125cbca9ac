-- The facts from which a sent message is diagnosed, for its owner and for staff. Nothing of what it carries is told,
-- also where that is no text.
create or replace function app.get_message_facts(message uuid) returns jsonb
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select (to_jsonb(m) - array['body', 'idempotency_key', 'request_id', 'contact_name', 'filename', 'detail',
        'media_sha256', 'quoted_wpp_id']) || jsonb_build_object(
        'now', clock_timestamp(),
        'session_name', s.session_id,
        'session_status', s.status,
        'worker_at', (select max(h.beat_at) from public.heartbeats h where h.process = 'worker'),
        'lane_waiting_reason', l.waiting_reason,
        'lane_waiting_since', l.waiting_since,
        'ahead', (select count(*) from public.messages q where q.session_id = m.session_id and q.state = 'queued'
          and q.asked_at is null and m.state = 'queued' and (q.run_at, q.seq) < (m.run_at, m.seq)),
        -- An ack may call the chat by any of its addresses.
        'wpp_names', coalesce((select jsonb_agg(distinct split_part(m.wpp_id, '_', 1) || '_' || x || '_'
              || split_part(m.wpp_id, '_', 3) || y)
            from public.contacts k cross join unnest(array[k.address, k.phone || '@c.us', k.lid]) x
              cross join unnest(array['', '_out']) y
           where k.id = m.contact_id and x is not null and split_part(m.wpp_id, '_', 3) <> ''), '[]'),
        'pending', coalesce((select jsonb_agg(jsonb_build_object('ack', p.ack, 'at', p.received_at,
            'lid', p.wpp_id like '%@lid%') order by p.received_at)
          from public.pending_acks p where p.session_id = m.session_id
            and split_part(p.wpp_id, '_', 3) = split_part(m.wpp_id, '_', 3)), '[]'))
      from public.messages m join public.whatsapp_sessions s on s.id = m.session_id
      left join public.lanes l on l.session_id = m.session_id
     where m.id = message and m.direction = 'out' and (m.user_id = auth.uid() or app.is_staff()));
end $$;
revoke execute on function app.get_message_facts from public;
grant execute on function app.get_message_facts to authenticated;
