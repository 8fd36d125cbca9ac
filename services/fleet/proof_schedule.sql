-- name: claim_due
-- `up` is read once. A signal older than the last proof or the last question has had its answer. Nine tenths of a pace,
-- because the last question's answer came a moment after it.
with up as materialized (
  select s.id, s.server_url, s.connected_at, s.last_proof_at, s.questioned_at, z.detected_at as dead_since,
         greatest(s.last_proof_at, s.questioned_at) as heard_at,
         max(s.last_proof_at) over server as server_proof_at
    from public.whatsapp_sessions s
    left join public.incidents z on z.session_id = s.id and z.kind = 'zombie' and z.ended_at is null
   where s.status = 'conectado' and coalesce(s.retention_lease_until < clock_timestamp(), true)
     and not exists (select from public.incidents d where d.session_id is null and d.server_url = s.server_url
       and d.ended_at is null)
  window server as (partition by s.server_url)
), signals (session_id, occurred_at, timed_out, came_up) as (
  select session_id, uncertain_at, uncertain_at > sending_at + interval '20 seconds', false from public.messages
   where state = 'uncertain' and uncertain_at > clock_timestamp() - interval '1 hour'
  union all
  select session_id, accepted_at + make_interval(secs => :unacked), false, false from public.messages
   where state = 'accepted' and accepted_at > clock_timestamp() - interval '1 hour'
     and accepted_at < clock_timestamp() - make_interval(secs => :unacked)
  union all
  select session_id, asked_at, false, false from public.number_checks
   where (checked_at is null or checked_at < asked_at) and asked_at > clock_timestamp() - interval '1 hour'
     and asked_at < clock_timestamp() - make_interval(secs => :hangs)
  union all
  select id, connected_at, false, true from up
   where connected_at > clock_timestamp() - interval '1 hour' and coalesce(last_proof_at < connected_at, true)
), suspects as (
  select up.id, count(*) filter (where signals.timed_out) as hung
    from up join signals on signals.session_id = up.id
   where (up.dead_since is null or coalesce(up.dead_since < up.connected_at, false))
     and coalesce(signals.occurred_at > up.last_proof_at, true)
     and (signals.came_up or coalesce(up.questioned_at < clock_timestamp() - make_interval(secs => :suspect), true))
   group by up.id, up.questioned_at
  having coalesce(max(signals.occurred_at) > up.questioned_at, true)
), troubled as (
  select server_url, max(dead_since) as since, count(*) as dead from up
   where dead_since > clock_timestamp() - interval '15 minutes' group by server_url
), neighbours as (
  select up.id, row_number() over (partition by up.server_url order by up.heard_at nulls first) as place, t.dead
    from up join troubled t using (server_url)
   where up.dead_since is null and coalesce(up.last_proof_at < t.since, true)
     and coalesce(up.questioned_at < t.since, true)
     and :neighbours > (select count(*) from up o where o.server_url = up.server_url and o.dead_since is null
       and o.last_proof_at > t.since)
), revived as (
  select server_url, max(ended_at) as occurred_at from public.incidents
   where kind = 'zombie' and state = 'healed' and ended_at > clock_timestamp() - interval '1 hour' group by server_url
), again as (
  select up.id from up left join revived r using (server_url)
   where up.dead_since is not null
     and (coalesce(up.questioned_at, up.dead_since) < clock_timestamp()
            - greatest(make_interval(secs => :again), (clock_timestamp() - up.dead_since) / 4)
          or up.questioned_at < r.occurred_at)
), servers as (
  select server_url, max(server_proof_at) as proof_at, cast(:gap as float) / count(*) as pace
    from up group by server_url
), quiet as (
  select distinct on (v.server_url) up.id
    from servers v join up using (server_url)
   where coalesce((select max(q.asked_at) from public.proof_questions q
           where q.server_url = v.server_url and q.reason = 'quiet')
         <= clock_timestamp() - make_interval(secs => v.pace), true)
     and up.dead_since is null
     and coalesce(up.heard_at < clock_timestamp() - make_interval(secs => 0.9 * v.pace), true)
     and (coalesce(v.proof_at < clock_timestamp() - make_interval(secs => 0.9 * v.pace), true)
          or coalesce(up.heard_at < clock_timestamp() - make_interval(secs => :gap), true))
     and not exists (select from public.proof_questions q where q.session_id = up.id and q.reason = 'quiet'
       and q.asked_at > clock_timestamp() - make_interval(secs => :gap))
   order by v.server_url, up.heard_at nulls first, up.id
), wanted as (
  select distinct on (id) * from (
    select id, 1 as urgency, 'suspect' as reason, hung from suspects
    union all select id, 2, 'quiet', 0 from quiet
    union all select id, 3, 'neighbour', 0 from neighbours where place <= greatest(:neighbours, dead)
    union all select id, 4, 'again', 0 from again
  ) w order by id, urgency
), chosen as (
  select wanted.*, row_number() over (partition by up.server_url order by urgency, up.heard_at nulls first) as place
    from wanted join up using (id)
)
update public.whatsapp_sessions s set questioned_at = clock_timestamp()
  from chosen c where c.id = s.id and c.place <= :cap
returning s.id as session_id, s.session_id as name, coalesce(s.server_url, '') as server_url,
          s.pairing_started_at as attempt, c.reason, c.hung

-- name: claim_session
update public.whatsapp_sessions set questioned_at = clock_timestamp() where id = :id and status = 'conectado'
returning id as session_id, session_id as name, coalesce(server_url, '') as server_url, pairing_started_at as attempt

-- name: insert_questions
-- A sample of the fleet serves a whole round: sorting all of it for each session would not scale.
with fleet as materialized (
  select id, phone_number as phone from public.whatsapp_sessions where phone_number is not null
   order by random() limit 40
), asking as materialized (
  select s.id, s.server_url, s.phone_number, a.reason
    from unnest(cast(:ids as uuid[]), cast(:reasons as text[])) as a (id, reason)
    join public.whatsapp_sessions s on s.id = a.id
)
insert into public.proof_questions (session_id, server_url, phone, reason, certain)
select asking.id, asking.server_url, n.phone, asking.reason, n.certain
  from asking cross join lateral (
    select c.phone, c.certain from (
      select phone, 1 as place, true as certain from unnest(cast(:own as text[])) as o (phone)
      union all
      select fleet.phone, 2, true from fleet
       where fleet.id <> asking.id and not exists (select from public.contacts k
         where k.session_id = asking.id and k.phone = fleet.phone)
      union all
      select u.phone, 3, true from public.proof_questions u
       where u.session_id = asking.id and u.answered_at is null and u.asked_at > clock_timestamp() - interval '1 day'
         and u.asked_at < clock_timestamp() - interval '1 second'
      union all
      select k.phone, 3, true from public.number_checks k
       where k.session_id = asking.id and (k.checked_at is null or k.checked_at < k.asked_at)
         and k.asked_at > clock_timestamp() - interval '1 day'
         and k.asked_at < clock_timestamp() - make_interval(secs => :hangs)
      union all
      (select k.phone, 4, false from public.number_checks k
        where k.session_id = asking.id and k.confirmed_at is not null
          and k.asked_at < clock_timestamp() - make_interval(secs => :same)
          and not exists (select from public.messages m where m.user_id = k.user_id and m.phone = k.phone
            and m.run_at > clock_timestamp() - make_interval(secs => :same))
        order by k.asked_at limit 20)
    ) c
     where c.phone is distinct from asking.phone_number
       and not exists (select from public.proof_questions q where q.session_id = asking.id and q.phone = c.phone
         and q.answered_at > clock_timestamp() - make_interval(secs => :same))
       and not exists (select from public.number_checks q where q.session_id = asking.id and q.phone = c.phone
         and q.checked_at >= q.asked_at and q.asked_at > clock_timestamp() - make_interval(secs => :same))
     order by c.place, random() limit 1) n
returning id, session_id, phone, certain

-- name: seconds_to_next
select min(extract(epoch from (select max(q.asked_at) from public.proof_questions q
         where q.server_url = v.server_url and q.reason = 'quiet') - clock_timestamp())::float + :gap / v.sessions)
  from (select server_url, count(*) as sessions from public.whatsapp_sessions where status = 'conectado'
         group by server_url) v
