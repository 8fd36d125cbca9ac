-- name: last_sign_of_life
-- The newest event tells it too: heartbeats are cleaned away after a day.
select (select greatest(max(h.beat_at), case when cast(:own as text) is null then (
          select e.received_at from public.events e order by e.id desc limit 1) end)
          from public.heartbeats h
         where h.process = 'receiver' and (cast(:own as text) is null or h.instance = :own)), clock_timestamp()
