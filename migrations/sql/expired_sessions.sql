-- Sessions that are down; `needed` is the age of their newest message, or for ever while one still has to leave.
-- A message that waits for its owner's word does not keep its session.
create or replace view app.expired_sessions as
  select s.id, s.session_id as name, s.server_url, s.updated_at as since, s.retention_lease_until,
         coalesce(s.cleared_at > s.updated_at, false) as cleared,
         case when exists (select from public.messages m where m.session_id = s.id
                and (m.state = 'sending' or (m.state = 'queued' and m.asked_at is null)))
              then 'infinity'::timestamptz
              else (select max(m.created_at) from public.messages m where m.session_id = s.id) end as needed
    from public.whatsapp_sessions s
   where s.status = 'desconectado' and s.check_at is null;
