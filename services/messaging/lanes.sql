-- name: ready_lanes
-- A lane is claimed when its turn is. SKIP LOCKED lets any number of workers claim at once without waiting for each
-- other. The sub-select makes the moment one value, which the index can be asked for.
    select session_id from lanes where ready_at <= (select clock_timestamp())
     order by ready_at limit :limit for update skip locked
    

-- name: put_off_lanes
-- Where WhatsApp was found out of reach, whatever is sent hangs and becomes uncertain: its lane waits, and is looked at
-- again soon.
    update lanes set available_at = clock_timestamp() + :wait
     where session_id = any(:ids) and exists (select from incidents f
       where f.session_id = lanes.session_id and f.kind = 'zombie' and f.ended_at is null)
    returning session_id
    

-- name: free_lanes
-- Only whoever still holds the lease frees the lane. A session that fell meanwhile, or has to
-- be asked whose number it is, holds it, whatever the call said. A
-- server that answered one lane is back for all that wait for it; those that somebody holds just now find out alone.
    with e as materialized (
      select e.*, s.status = 'conectado' and s.settling_since is null as up
        from jsonb_to_recordset(cast(:ended as jsonb)) as e (session_id uuid, leased_until timestamptz, gap float,
          server_url text, waiting text, retry_limit float, answered boolean, reached boolean)
        join whatsapp_sessions s on s.id = e.session_id
    ), back as (
      select l.session_id from lanes l join whatsapp_sessions s on s.id = l.session_id
       where l.waiting_since is not null and l.waiting_reason = 'server' and s.status = 'conectado'
         and s.server_url in (select server_url from e where reached) and l.session_id not in (select session_id from e)
         for update of l skip locked
    ), freed as (
      update lanes set waiting_reason = null, waiting_since = null, retry_at = null, tries = 0
        from back where lanes.session_id = back.session_id
    )
    update lanes set
        available_at = clock_timestamp() + make_interval(secs => e.gap),
        due_at = (select min(run_at) from messages
                   where session_id = e.session_id and state = 'queued' and asked_at is null),
        waiting_reason = case when not e.up then 'session' when e.answered then null
          else coalesce(e.waiting, lanes.waiting_reason) end,
        waiting_since = case when e.answered and e.up then null when e.waiting is null and e.up then lanes.waiting_since
          else coalesce(lanes.waiting_since, clock_timestamp()) end,
        retry_at = case when not e.up then 'infinity' when e.answered then null
          when e.waiting is null then lanes.retry_at
          else clock_timestamp() + make_interval(secs => least(2.0 ^ least(lanes.tries, 10), e.retry_limit)) end,
        tries = case when e.answered or not e.up then 0 when e.waiting is null then lanes.tries
          else lanes.tries + 1 end
      from e
     where lanes.session_id = e.session_id and lanes.available_at = e.leased_until
    

-- name: wait_beside
-- The lanes of a server that is away whose turn would be soon, but for the one that asks for them.
    update lanes set waiting_reason = 'server', waiting_since = coalesce(lanes.waiting_since, clock_timestamp()),
        retry_at = clock_timestamp() + make_interval(secs => :seconds * (1 + random() / 2))
     where session_id in (
       select l.session_id from lanes l join whatsapp_sessions s on s.id = l.session_id
        where l.ready_at <= clock_timestamp() + interval '10 seconds' and s.server_url = any(:servers)
          and s.status = 'conectado' and l.session_id <> all(:asking)
          for update of l skip locked)
    
