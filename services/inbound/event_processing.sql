-- name: count_session_hours
-- When a session usually speaks: what a silence is held against. In order, so that two workers never wait in a circle.
insert into public.session_hours as h (session, hour, events, last_at)
select session, date_trunc('hour', received_at), count(*), max(received_at)
  from public.events where id = any(:ids) and session is not null and handled_at is null
 group by 1, 2 order by 1, 2
on conflict (session, hour) do update
  set events = h.events + excluded.events, last_at = greatest(h.last_at, excluded.last_at)

-- name: lock_sessions
select pg_advisory_xact_lock(hashtextextended('inbox ' || name, 0))
  from (select name from unnest(cast(:names as text[])) as x (name) order by name) as sorted

-- name: store_results
update public.events set
    verdict = r.verdict, error = r.error, attempts = attempts + 1, handled_at = now(), retry_at = now() + :retry_after
  from unnest(cast(:ids as bigint[]), cast(:verdicts as text[]), cast(:errors as text[])) as r (id, verdict, error)
 where events.id = r.id
