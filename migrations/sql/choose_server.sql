-- The server for a session that starts, or null where none has room. `home`, where the session was before, keeps it
-- while it is configured and not drained. Otherwise it is the server with most room. A server whose newest look failed
-- is taken only where no other has room, because it may have recovered since that look.
create or replace function app.choose_server(urls text[], home text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if home = any(urls) and not exists (
    select from public.wpp_servers s where s.url = home and s.drained_at is not null) then
    return home;
  end if;
  -- One chooses at a time, so that two cannot take the same last place: the second counts after the first committed.
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('choose_server', 0));
  return (
    select able.url
      from (select given.url,
                   coalesce(not s.healthy and s.checked_at > now() - interval '2 minutes', false) as ill,
                   coalesce(s.capacity, 100) - (select count(*) from public.whatsapp_sessions w
                     where w.server_url = given.url and w.status <> 'desconectado') as room
              from unnest(urls) as given (url) left join public.wpp_servers s on s.url = given.url
             where s.drained_at is null) able
     where able.room > 0
     order by able.ill, able.room desc, able.url
     limit 1);
end $$;
revoke execute on function app.choose_server from public;
grant execute on function app.choose_server to authenticated, service_role;
