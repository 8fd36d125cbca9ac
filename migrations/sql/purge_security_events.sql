-- Deletes a batch of old security events. Its own function, so that a table that becomes append-only has one door to
-- change. Only `purge_expired` calls it.
create or replace function app.purge_security_events(keep interval, most integer) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  gone integer;
begin
  delete from public.security_events where id = any(array(
    select id from app.expired_security_events where since < now() - keep order by since limit most
       for update skip locked));
  get diagnostics gone = row_count;
  return gone;
end $$;
revoke execute on function app.purge_security_events from public;
