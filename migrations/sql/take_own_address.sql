-- The earlier number of a session whose message it is that calls the session's own side `own`; null where it is the
-- present one's, or nobody can tell. Between the moment in which a session comes up and that in which its server says
-- whose number it is, a line that it never was is its number now.
create or replace function app.take_own_address(of_session uuid, own text) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  line text := app.get_address_key(own);
  present text;
  settling boolean;
begin
  if line not like '%@c.us' then
    return null;
  end if;
  select app.get_address_key(s.phone_number), s.settling_since is not null into present, settling
    from public.whatsapp_sessions s where s.id = of_session;
  if present is null or present = line then
    return null;
  elsif exists (select from public.session_numbers n
                 where n.session_id = of_session and app.get_address_key(n.phone) = line) then
    return line;
  elsif settling then
    update public.whatsapp_sessions set phone_number = substring(own from '^[0-9]+') where id = of_session;
  end if;
  return null;
end $$;
revoke execute on function app.take_own_address from public;
