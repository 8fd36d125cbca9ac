-- How many messages of each person wait for a decision whether they left: for staff, who learn nothing of texts and
-- numbers.
create or replace function app.count_uncertain()
returns table (user_id uuid, waiting bigint, oldest timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select m.user_id, count(*), min(m.uncertain_at) from public.messages m
   where m.state = 'uncertain' and m.reconcile_at is null and app.is_staff() group by m.user_id
$$;
revoke execute on function app.count_uncertain from public;
grant execute on function app.count_uncertain to authenticated;
