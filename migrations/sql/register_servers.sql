-- Gives a row to each configured server that has none. They are numbered in the order of the configuration; only what
-- is missing is inserted, because an attempt would use up a number.
create or replace function app.register_servers(urls text[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not (app.is_staff() or current_setting('role') = 'service_role') then
    raise exception 'only for staff' using errcode = 'insufficient_privilege';
  end if;
  insert into public.wpp_servers (url)
    select given.url from unnest(urls) with ordinality as given (url, place)
     where not exists (select from public.wpp_servers s where s.url = given.url)
     order by given.place
    on conflict (url) do nothing;
end $$;
revoke execute on function app.register_servers from public;
grant execute on function app.register_servers to authenticated, service_role;
