-- How many rows of each kind have expired, for staff and the worker; `keep` has the retention of each kind. A kind is
-- the view `expired_<kind>` with a `since`: only whether a session has expired hangs on more than its age.
create or replace function app.count_expired(keep jsonb) returns table (kind text, found bigint, oldest timestamptz)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  view_name text;
begin
  if not (app.is_staff() or current_setting('role') = 'service_role') then
    raise exception 'only for staff' using errcode = 'insufficient_privilege';
  end if;
  return query
    select 'sessions', count(*), min(since) from app.expired_sessions
     where app.is_session_expired(since, cleared, needed,
       (keep ->> 'sessions')::interval, (keep ->> 'history')::interval);
  for kind, view_name in
    select substr(c.relname, length('expired_') + 1), c.relname from pg_catalog.pg_class c
     where c.relnamespace = 'app'::regnamespace and c.relkind = 'v' and c.relname like 'expired\_%'
       and c.relname <> 'expired_sessions' order by 1
  loop
    return query execute format('select $1, count(*), min(since) from app.%I where since < now() - $2', view_name)
      using kind, (keep ->> kind)::interval;
  end loop;
end $$;
revoke execute on function app.count_expired from public;
grant execute on function app.count_expired to authenticated, service_role;
