-- The contact of an address, made where there is none; null where the session is gone. Called for what comes in, and by
-- `file_message` for what goes out. One person has up to two addresses, a phone's and an anonymous one (@lid), and
-- either may be known first. Rows that turn out to be one person become one: the row with the phone, or else the
-- oldest, takes over what the others had.
create or replace function app.get_or_create_contact(
  of_session uuid, its_address text, its_phone text, its_lid text, group_chat boolean
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  found uuid[];
  made uuid;
  same public.contacts;
begin
  loop
    select array_agg(c.id order by c.phone is null, c.created_at, c.id) into found
      from (select * from public.contacts k
             where k.session_id = of_session and (k.address = its_address or k.phone = its_phone or k.lid = its_lid)
             order by k.id for no key update) c;
    exit when found is not null;
    -- A group's name comes with none of its messages: it is asked for, as the phone behind a @lid is.
    insert into public.contacts (session_id, user_id, address, phone, lid, is_group, identify_at)
    select of_session, s.user_id, its_address, its_phone, its_lid, group_chat,
           case when its_phone is null and its_lid is not null or its_address like '%@g.us' then now() end
      from public.whatsapp_sessions s where s.id = of_session
    on conflict do nothing returning id into made;
    if made is not null then
      return made;
    end if;
    if not exists (select from public.whatsapp_sessions s where s.id = of_session) then
      return null;
    end if;
  end loop;
  made := found[1];
  if cardinality(found) > 1 then
    for same in select * from public.contacts where id = any(found[2:]) loop
      update public.messages set contact_id = made where contact_id = same.id;
      delete from public.contacts where id = same.id;
      update public.contacts set
        phone = coalesce(phone, same.phone), lid = coalesce(lid, same.lid), name = coalesce(name, same.name),
        pushname = coalesce(pushname, same.pushname), blocked_at = coalesce(blocked_at, same.blocked_at),
        notes = concat_ws(e'\n', nullif(notes, ''), nullif(same.notes, '')),
        labels = array(select distinct x from unnest(labels || same.labels) x order by 1),
        unread = unread + same.unread, last_message_at = greatest(last_message_at, same.last_message_at)
       where id = made;
    end loop;
  end if;
  update public.contacts set phone = coalesce(phone, its_phone), lid = coalesce(lid, its_lid), updated_at = now()
   where id = made and ((phone is null and its_phone is not null) or (lid is null and its_lid is not null));
  return made;
end $$;
revoke execute on function app.get_or_create_contact from public;
grant execute on function app.get_or_create_contact to service_role;
