-- Files what goes out in its conversation: at once where there is one, and else when it leaves, so that somebody for
-- whom a message was only queued is no conversation yet. What will leave later stands at the time when it will leave.
-- A message's `phone` is digits, a group's address, or the @lid of somebody whose number nobody knows.
create or replace function app.file_message() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  leaving boolean := new.state = 'sending' and (tg_op = 'INSERT' or old.state <> 'sending');
  anonymous text := case when new.phone like '%@lid' then new.phone when new.address like '%@lid' then new.address end;
  digits text := case when new.phone not like '%@%' then new.phone end;
begin
  if tg_op = 'INSERT' and new.state = 'queued' then
    new.occurred_at := new.run_at;
  elsif leaving then
    new.occurred_at := clock_timestamp();
  end if;
  if leaving and exists (
    select from public.contacts k where k.id = new.contact_id and k.of_number is not null) then
    -- It was queued by an earlier number, and its owner lets it go by the present one.
    new.contact_id := null;
  end if;
  if new.contact_id is null then
    select a.contact_id into new.contact_id from public.contact_addresses a
     where a.session_id = new.session_id and a.address = app.get_address_key(new.phone);
  end if;
  if leaving and (new.contact_id is null or anonymous is not null and digits is not null) then
    new.contact_id := app.get_or_create_contact(new.session_id,
      coalesce(nullif(new.address, ''), new.phone || case when digits is null then '' else '@c.us' end),
      digits, anonymous, new.phone like '%@g.us');
  end if;
  if leaving then
    -- A locked contact is skipped: whoever holds it stores a message of the same moment, and two who wait for each
    -- other's contacts would end in a deadlock.
    update public.contacts set last_message_at = greatest(last_message_at, new.occurred_at) where id in (
      select c.id from public.contacts c where c.id = new.contact_id for no key update skip locked);
  end if;
  return new;
end $$;
revoke execute on function app.file_message from public;
create or replace trigger file_message before insert or update of state on public.messages
  for each row when (new.direction = 'out' and new.state in ('queued', 'sending')) execute function app.file_message();
