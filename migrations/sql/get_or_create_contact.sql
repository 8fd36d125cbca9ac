-- The contact of an address, made where there is none; null where the session is gone. Called for what comes in, and by
-- `file_message` for what goes out.
--
-- One person has several addresses: a phone's, in more than one spelling, and an anonymous one (@lid). Either may be
-- known first; a phone and a @lid that are told together are one person from `said_at` on, by WhatsApp's clock, and two
-- contacts that turn out to be one become one. A number can pass to somebody else, and a person can get another number:
-- the newest word counts, whatever comes first, and nobody's conversation goes along with a number. A word without a
-- time (null) changes nothing that is known.
create or replace function app.get_or_create_contact(
  of_session uuid, its_address text, its_phone text, its_lid text, group_chat boolean, said_at timestamptz default now()
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  phone_key text := app.get_address_key(its_phone || '@c.us');
  lid_key text := app.get_address_key(its_lid);
  keys text[] := array(select distinct k from unnest(array[app.get_address_key(its_address), phone_key, lid_key]) k
                        where k is not null);
  holders uuid[];
  known bigint;
  made uuid;
  by_lid public.contacts;
  by_phone public.contacts;
  told timestamptz := coalesce(said_at, '-infinity');
begin
  loop
    select array_agg(distinct a.contact_id), count(*) into holders, known
      from public.contact_addresses a where a.session_id = of_session and a.address = any(keys);
    exit when holders is not null;
    made := app.create_contact(of_session, its_address, its_phone, its_lid, group_chat, said_at);
    if made is not null then
      return made;
    elsif not exists (select from public.whatsapp_sessions s where s.id = of_session) then
      return null;
    end if;
  end loop;
  if cardinality(holders) = 1 and known = cardinality(keys) then
    -- The usual case: nothing is new. How fresh the word is is written once an hour, not with each message.
    update public.contacts k set
        identified_at = case when lid_key is not null and phone_key is not null then greatest(identified_at, said_at)
          else identified_at end,
        address = case when its_address like '%@c.us' and k.address like '%@c.us' and told >= k.created_at
          then its_address else k.address end
     where k.id = holders[1] and (
       lid_key is not null and phone_key is not null and said_at > coalesce(k.identified_at, '-infinity') + interval '1 hour'
       or its_address like '%@c.us' and k.address like '%@c.us' and k.address <> its_address and told >= k.created_at);
    return holders[1];
  end if;
  perform from public.contacts k where k.id = any(holders) order by k.id for no key update;
  if lid_key is null or phone_key is null then
    update public.contacts k set phone = coalesce(k.phone, its_phone), lid = coalesce(k.lid, its_lid), updated_at = now()
     where k.id = holders[1];
    return holders[1];
  end if;
  select k.* into by_lid from public.contacts k join public.contact_addresses a on a.contact_id = k.id
   where a.session_id = of_session and a.address = lid_key;
  select k.* into by_phone from public.contacts k join public.contact_addresses a on a.contact_id = k.id
   where a.session_id = of_session and a.address = phone_key;
  if by_lid.id = by_phone.id then
    return by_lid.id;
  elsif by_lid.id is null and by_phone.lid is null then
    update public.contacts set lid = its_lid, identify_at = null, identified_at = greatest(identified_at, said_at),
      updated_at = now() where id = by_phone.id;
    return by_phone.id;
  elsif by_lid.phone is null and by_phone.id is null and by_lid.id is not null then
    update public.contacts set phone = its_phone, identify_at = null, identified_at = greatest(identified_at, said_at),
      updated_at = now() where id = by_lid.id;
    update public.messages set phone = its_phone where contact_id = by_lid.id and phone like '%@lid';
    return by_lid.id;
  elsif by_lid.id is not null and by_lid.phone is null and by_phone.lid is null then
    perform app.join_contacts(by_phone.id, by_lid.id);
    update public.contacts set identify_at = null, identified_at = greatest(identified_at, said_at) where id = by_phone.id;
    return by_phone.id;
  end if;
  -- The two names contradict what is known of one of them, or of both.
  if told <= coalesce(by_phone.identified_at, '-infinity') or told <= coalesce(by_lid.identified_at, '-infinity') then
    return app.get_or_create_contact(of_session, its_lid, null, its_lid, false, said_at);
  end if;
  if by_phone.id is not null then
    update public.contacts set phone = null, address = coalesce(lid, address), updated_at = now() where id = by_phone.id;
    delete from public.contact_addresses where session_id = of_session and address = phone_key;
    update public.number_checks set fresh_until = null where session_id = of_session and phone = its_phone;
  end if;
  if by_lid.id is null then
    return app.get_or_create_contact(of_session, its_lid, its_phone, its_lid, false, said_at);
  end if;
  delete from public.contact_addresses
   where session_id = of_session and contact_id = by_lid.id and address like '%@c.us';
  update public.contacts set phone = its_phone, identified_at = said_at, updated_at = now(),
      address = case when address like '%@c.us' then its_lid else address end
   where id = by_lid.id;
  return by_lid.id;
end $$;
revoke execute on function app.get_or_create_contact from public;
grant execute on function app.get_or_create_contact to service_role;
