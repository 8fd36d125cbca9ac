-- The beginning of the quarter hour that a moment lies in. No search path of its own: the planner can then put its body
-- in its place.
create or replace function app.get_quarter(moment timestamptz) returns timestamptz
language sql immutable parallel safe as $$
  select date_bin('15 minutes', moment, timestamptz '2000-01-01 00:00:00+00')
$$;
revoke execute on function app.get_quarter from public;
grant execute on function app.get_quarter to service_role;
