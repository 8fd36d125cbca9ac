-- Whether this person of the staff may look at `scope` of the user now, by a break-glass grant.
create or replace function app.has_break_glass(user_id uuid, scope text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select app.is_staff() and exists (
    select from public.break_glass_grants g
     where g.actor_id = auth.uid() and g.user_id = has_break_glass.user_id and g.scope = has_break_glass.scope
       and g.ended_at is null and g.expires_at > clock_timestamp())
$$;
revoke execute on function app.has_break_glass from public;
grant execute on function app.has_break_glass to authenticated;
