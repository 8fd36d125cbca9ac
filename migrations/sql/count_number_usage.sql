-- How many recipients, and how many strangers among them, campaigns have written to by the present number of a user's
-- session in a time: those of every user whose session was that number then. Only figures leave: whose they are, nobody
-- learns here.
create or replace function app.count_number_usage(of_user uuid, since timestamptz, until timestamptz)
returns table (total bigint, cold bigint)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with line as (select app.get_line_of_user(of_user) as key), times as (
    select n.user_id, n.since, n.until from public.session_numbers n, line where app.get_address_key(n.phone) = line.key
     union all
    select of_user, null, null from line
     where line.key is null and (of_user = auth.uid() or current_setting('role') = 'service_role')
  )
  select count(*), count(*) filter (where r.cold)
    from times t join public.campaign_recipients r on r.user_id = t.user_id
   where r.released_at >= count_number_usage.since and r.released_at < count_number_usage.until
     and r.released_at >= coalesce(t.since, '-infinity') and r.released_at < coalesce(t.until, 'infinity')
$$;
revoke execute on function app.count_number_usage from public;
grant execute on function app.count_number_usage to authenticated, service_role;
