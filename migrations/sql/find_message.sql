-- The row of the WhatsApp message that is called `named`, or null. It takes the message's turn first, until the
-- transaction ends: an ack and the outcome that names its message may come at once.
--
-- A message is its key in its chat, and a chat has several addresses. Where the chat's address is not known to be
-- anybody's yet, the row counts that is the only one of this key in a chat which may be the same person's. For a message
-- that comes itself (`said` and `says` are given) that is not enough: it must have been sent from here, or have come at
-- the same second with the same words. With `learns`, another name of a message of ours tells a second address of
-- whoever got it, because nobody else knows such an id: only under the lock of the session's events, as it may make one
-- contact of two.
create or replace function app.find_message(
  of_session uuid, named text, said timestamptz default null, says text default null, learns boolean default false
) returns uuid
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  recipient public.contacts;
  key text := app.get_message_key(named);
  chat text := app.get_address_key(split_part(named, '_', 2));
  anonymous boolean := chat like '%@lid';
  rows uuid[];
  learnable boolean := false;
begin
  perform pg_advisory_xact_lock(hashtextextended(of_session || key, 0));
  if key = named then
    return (select m.id from public.messages m
             where m.session_id = of_session and m.wpp_id is not null and app.get_message_key(m.wpp_id) = key limit 1);
  end if;
  select array[m.id] into rows
    from public.contact_addresses a join public.messages m
      on m.contact_id = a.contact_id and m.wpp_id is not null and app.get_message_key(m.wpp_id) = key
   where a.session_id = of_session and a.address = chat;
  if rows is null then
    -- With the same person by an earlier number of the session.
    select array_agg(m.id) into rows
      from public.messages m join public.contacts k on k.id = m.contact_id and k.of_number is not null
     where m.session_id = of_session and m.wpp_id is not null and app.get_message_key(m.wpp_id) = key
       and chat in (app.get_address_key(k.address), app.get_address_key(k.phone), app.get_address_key(k.lid));
  end if;
  if rows is null and (anonymous or chat like '%@c.us') then
    learnable := true;
    select array_agg(m.id) into rows
      from public.messages m left join public.contacts k on k.id = m.contact_id
     where m.session_id = of_session and m.wpp_id is not null and app.get_message_key(m.wpp_id) = key
       and (k.id is null
         or k.of_number is null and k.address ~ '@(c\.us|lid)$'
           and case when anonymous then k.lid is null else k.phone is null end)
       and not exists (
         select from public.contact_addresses a join public.contacts o on o.id = a.contact_id
          where a.session_id = of_session and a.address = chat
            and case when anonymous then o.phone is not null else o.lid is not null end)
       and (said is null or m.idempotency_key is not null or m.occurred_at = said
         and (m.body = says or '' in (m.body, says) or exists (
           select from public.message_annotations e
            where e.session_id = of_session and e.wpp_id = m.wpp_id and e.kind = 'edit')));
  end if;
  if cardinality(rows) <> 1 then
    return null;
  end if;
  if learns and learnable then
    select k.* into recipient from public.messages m join public.contacts k on k.id = m.contact_id
     where m.id = rows[1] and m.idempotency_key is not null;
    -- A phone as `services.wppconnect.phone` keeps it: with Brazil's ninth digit.
    perform app.get_or_create_contact(of_session, coalesce(recipient.lid, chat), coalesce(recipient.phone,
        regexp_replace(split_part(chat, '@', 1), '^(55[1-9][1-9])([6-9][0-9]{7})$', '\19\2')),
        coalesce(recipient.lid, chat), false, coalesce(said, now()))
     where recipient.lid is not null or anonymous and recipient.phone is not null;
  end if;
  return rows[1];
end $$;
revoke execute on function app.find_message from public;
grant execute on function app.find_message to service_role;
