-- name: ask_owners
-- By the index of what was held up before, and by that of the lanes that wait.
    with overdue as (
      select m.id from messages m
       where m.state = 'queued' and m.asked_at is null and m.waiting_since <= now() - :patience
      union
      select m.id from lanes l join messages m on m.session_id = l.session_id
       where l.waiting_since <= now() - :patience
         and m.state = 'queued' and m.asked_at is null and m.run_at <= now() - :patience
    ), held as (
      select m.id from messages m where m.id in (select id from overdue) for update skip locked
    )
    update messages m set asked_at = now(), updated_at = now(), waiting_since = coalesce(m.waiting_since,
        greatest(m.run_at, (select l.waiting_since from lanes l where l.session_id = m.session_id)))
      from held where held.id = m.id and m.state = 'queued' and m.asked_at is null
    returning m.user_id
    
