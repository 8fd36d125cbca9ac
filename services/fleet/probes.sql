-- name: claim_due
update public.whatsapp_sessions set probed_at = clock_timestamp() where id in (
  select s.id from public.whatsapp_sessions s
   where s.status = 'conectado'
     and (greatest(s.last_proof_at, s.probed_at) is null
          or greatest(s.last_proof_at, s.probed_at) < clock_timestamp() - make_interval(secs => :proof))
     and not exists (select from public.incidents f where f.ended_at is null and f.session_id is null
           and f.server_url = s.server_url)
   order by greatest(s.last_proof_at, s.probed_at) nulls first limit :limit for update skip locked)
returning session_id as name, coalesce(server_url, '') as server_url, pairing_started_at as attempt

-- name: lost_servers
select f.server_url,
       (select s.session_id from public.whatsapp_sessions s where s.server_url = f.server_url limit 1) as name
  from public.incidents f where f.kind = 'server_down' and f.ended_at is null
