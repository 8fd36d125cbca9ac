-- When the acknowledgements with these keys came in, for the owner of the message and for staff.
create or replace function app.list_message_acks(message uuid, keys uuid[])
returns table (key uuid, received_at timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  return query
    select e.dedupe_key, e.received_at
      from public.messages m join public.whatsapp_sessions s on s.id = m.session_id
      join public.events e on e.session = s.session_id and e.kind = 'onack'
     where m.id = message and (m.user_id = auth.uid() or app.is_staff())
       and e.dedupe_key = any(keys) and e.verdict <> 'duplicate';
end $$;
revoke execute on function app.list_message_acks from public;
grant execute on function app.list_message_acks to authenticated;
