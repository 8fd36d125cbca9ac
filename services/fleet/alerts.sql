-- name: suppress
-- The server's address is nobody's business: its sessions' owners are named by their session, a server by its number.
update public.incidents f set notified_at = clock_timestamp()
 where f.notified_at is null and (:silent or f.ended_at is not null or exists (select from public.incidents o
   where o.kind = f.kind and o.session_id is not distinct from f.session_id
     and o.server_url is not distinct from f.server_url
     and o.notified_at > clock_timestamp() - make_interval(secs => :cooldown)))

-- name: select_pending
select f.id, f.kind, f.state, f.detected_at,
       coalesce('user_' || f.user_id, 'servidor com ' || (select count(*) from public.whatsapp_sessions s
         where s.server_url = f.server_url) || ' sessões') as subject
  from public.incidents f where f.notified_at is null order by f.id limit 200
