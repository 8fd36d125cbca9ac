-- The users whose `wanted` scope this person of the staff may look at now. For policies: asked once a statement, not
-- once a row as `has_break_glass` would be.
create or replace function app.list_break_glass_users(wanted text) returns setof uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select g.user_id from public.break_glass_grants g
   where app.is_staff() and g.actor_id = auth.uid() and g.scope = wanted
     and g.ended_at is null and g.expires_at > clock_timestamp()
$$;
revoke execute on function app.list_break_glass_users from public;
grant execute on function app.list_break_glass_users to authenticated;
