-- name: claim_incidents
-- The claim is repeated outside, because a second worker may have seen the same rows before the first one took them.
-- Out of reach is a server with three dead sessions beside which nothing has proved itself since.
update public.incidents set due_at = clock_timestamp() + make_interval(secs => :lease)
 where state = 'open' and due_at <= clock_timestamp() and id in (
  select c.id from (
    select f.id, f.server_url, f.due_at, f.kind = 'zombie' and (
        select count(*) >= 3 and not exists (select from public.whatsapp_sessions p where p.server_url = f.server_url
            and p.status = 'conectado' and p.last_proof_at > max(z.detected_at))
          from public.incidents z where z.server_url = f.server_url and z.kind = 'zombie' and z.ended_at is null
        ) as out_of_reach, row_number() over (partition by f.server_url order by f.due_at, f.id) as place
      from public.incidents f join public.whatsapp_sessions s on s.id = f.session_id
     where f.state = 'open' and f.due_at <= clock_timestamp()
       and coalesce(s.retention_lease_until < clock_timestamp(), true)
       and not exists (select from public.incidents d
             where d.session_id is null and d.server_url = f.server_url and d.ended_at is null)) c
   where c.place <= case when c.out_of_reach then 1 else :cap end - (
         select count(*) from public.incidents b where b.state = 'open' and b.server_url = c.server_url
           and b.due_at > clock_timestamp() and b.acted_at > clock_timestamp() - make_interval(secs => :step))
   order by c.due_at limit :limit)
returning id, kind, session_id, user_id, coalesce(server_url, '') as server_url, steps, (
  select coalesce(sum(o.steps), 0) from public.incidents o
   where o.session_id = incidents.session_id and o.detected_at > clock_timestamp() - interval '1 day') as steps_today

-- name: record_step
update public.incidents set steps = :steps, due_at = clock_timestamp() + make_interval(secs => :wait),
       acted_at = case when :acted then clock_timestamp() else acted_at end
 where id = :id and state = 'open'
