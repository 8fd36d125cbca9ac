-- Only the conversations of a session's present number have addresses: whoever writes next writes to that one.
create or replace trigger record_addresses after insert or update of address, phone, lid on public.contacts
  for each row when (new.of_number is null) execute function app.record_addresses();
