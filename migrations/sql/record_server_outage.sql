-- Records an outage of a server's sessions when it is healthy again. Servers are checked up to 20 s apart, so it may
-- have gone that much before it was seen to be gone.
create or replace function app.record_server_outage() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform app.record_outage('server', old.state_since - interval '20 seconds', clock_timestamp(), new.url, null);
  return null;
end $$;
revoke execute on function app.record_server_outage from public;
create or replace trigger record_outage after update of healthy on public.wpp_servers for each row
  when (new.healthy and old.healthy is false) execute function app.record_server_outage();
