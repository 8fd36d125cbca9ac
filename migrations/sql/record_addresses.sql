-- Notes the addresses that a contact has. An address that another contact has stays with that one: who it passes to is
-- decided where both are known.
create or replace function app.record_addresses() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.contact_addresses (session_id, address, contact_id, user_id)
  select new.session_id, x.address, new.id, new.user_id from (
    select distinct app.get_address_key(y) as address from unnest(array[new.address, new.phone || '@c.us', new.lid]) y
  ) x where x.address is not null order by 2
  on conflict do nothing;
  return null;
end $$;
revoke execute on function app.record_addresses from public;
create or replace trigger record_addresses after insert or update of address, phone, lid on public.contacts
  for each row execute function app.record_addresses();
