-- A new contact with its addresses; null where somebody else has just made it, or the session is gone.
create or replace function app.create_contact(
  of_session uuid, its_address text, its_phone text, its_lid text, group_chat boolean, said_at timestamptz
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  made uuid;
begin
  -- A group's name comes with none of its messages: it is asked for, as the phone behind a @lid is.
  insert into public.contacts (session_id, user_id, address, phone, lid, is_group, identify_at, identified_at)
  select of_session, s.user_id, its_address, its_phone, its_lid, group_chat,
         case when its_phone is null and its_lid is not null or its_address like '%@g.us' then now() end,
         case when its_phone is not null and its_lid is not null then said_at end
    from public.whatsapp_sessions s where s.id = of_session
  on conflict do nothing returning id into made;
  -- Another spelling of its address may have come at the same moment.
  if exists (select from public.contact_addresses a
              where a.session_id = of_session and a.address = app.get_address_key(its_address) and a.contact_id <> made) then
    delete from public.contacts where id = made;
    return null;
  end if;
  perform app.carry_over_contact(made);
  return made;
end $$;
revoke execute on function app.create_contact from public;
