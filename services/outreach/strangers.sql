-- name: find_strangers
-- As `enrol` of campaigns tells them.
select r.phone from unnest(cast(:phones as text[]), cast(:twins as text[])) as r (phone, twin)
 where r.phone not like '%@g.us' and not exists (
   select from public.messages m
    where m.user_id = :user and m.direction = 'in' and app.is_written(m.kind)
      and m.created_at > now() - make_interval(days => :days) and m.phone in (r.phone, r.twin))
