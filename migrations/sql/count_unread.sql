-- How many messages of a session wait to be read: for its owner and for staff, who see the number and nothing else.
create or replace function app.count_unread(session uuid) returns integer
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce(sum(c.unread), 0)::integer from public.contacts c
   where c.session_id = session and c.unread > 0 and c.of_number is null and (c.user_id = auth.uid() or app.is_staff())
$$;
revoke execute on function app.count_unread from public;
grant execute on function app.count_unread to authenticated;
