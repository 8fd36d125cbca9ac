-- Keeps which numbers a session has had. With another number than before everything that was made for that one waits:
-- its lane is stopped until its owner has said what to do, and its conversations are set aside. Another spelling of the
-- same line is no change. Where the number before comes back, nothing is left to say, unless something was queued
-- meanwhile. A trigger, so that no way of learning the number can forget it.
create or replace function app.record_number() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  known public.session_numbers;
  present text := app.get_address_key(new.phone_number);
  made_for text;
begin
  select * into known from public.session_numbers n where n.session_id = new.id and n.until is null for update;
  if known.id is null then
    insert into public.session_numbers (session_id, user_id, phone) values (new.id, new.user_id, new.phone_number);
    return null;
  elsif app.get_address_key(known.phone) = present then
    return null;
  end if;
  made_for := case when known.decided_at is null then coalesce(known.replaced, known.phone) else known.phone end;
  if app.get_address_key(made_for) = present then
    made_for := case when exists (
      select from public.messages m where m.session_id = new.id and m.state = 'queued' and m.created_at >= known.since)
      then known.phone end;
  end if;
  update public.session_numbers set until = clock_timestamp() where id = known.id;
  insert into public.session_numbers (session_id, user_id, phone, since, replaced)
  values (new.id, new.user_id, new.phone_number, clock_timestamp(), made_for);
  if made_for is null then
    update public.lanes set stopped_at = null, stopped_for = null
     where session_id = new.id and stopped_for = 'number';
  else
    update public.lanes set stopped_at = clock_timestamp(), stopped_for = 'number'
     where session_id = new.id and stopped_at is null;
  end if;
  perform app.file_contacts_by_number(new.id, app.get_address_key(known.phone), present);
  insert into public.session_timeline (session_id, user_id, kind, action, detail)
  values (new.id, new.user_id, 'state', 'number_changed', jsonb_build_object('from', known.phone, 'to', new.phone_number));
  return null;
end $$;
revoke execute on function app.record_number from public;
create or replace trigger record_number after insert or update of phone_number on public.whatsapp_sessions
  for each row when (new.phone_number is not null) execute function app.record_number();
