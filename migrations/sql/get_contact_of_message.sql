-- The contact of the chat of a message that came in, by the number that it came to (`own` is what the message calls the
-- session's own side); made where there is none, null where the session is gone. What comes late, or comes again, of a
-- number that the session is not any more belongs to that number's conversations.
create or replace function app.get_contact_of_message(
  of_session uuid, own text, its_address text, its_phone text, its_lid text, group_chat boolean, said_at timestamptz
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  line text := app.take_own_address(of_session, own);
  keys text[] := array[app.get_address_key(its_address), app.get_address_key(its_phone), app.get_address_key(its_lid)];
  found_id uuid;
begin
  if line is null then
    return app.get_or_create_contact(of_session, its_address, its_phone, its_lid, group_chat, said_at);
  end if;
  select k.id into found_id from public.contacts k
   where k.session_id = of_session and k.of_number = line
     and (app.get_address_key(k.address) = any(keys) or app.get_address_key(k.phone) = any(keys) or k.lid = its_lid)
   order by k.phone is null, k.created_at, k.id limit 1;
  if found_id is null then
    insert into public.contacts (session_id, user_id, address, phone, lid, is_group, of_number)
    select of_session, s.user_id, its_address, its_phone, its_lid, group_chat, line
      from public.whatsapp_sessions s where s.id = of_session
    returning id into found_id;
  end if;
  return found_id;
end $$;
revoke execute on function app.get_contact_of_message from public;
grant execute on function app.get_contact_of_message to service_role;
