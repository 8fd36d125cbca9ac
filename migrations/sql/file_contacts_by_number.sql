-- Sets the conversations of a session's earlier number aside, and takes up those that its present number had before.
create or replace function app.file_contacts_by_number(of_session uuid, earlier text, present text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  delete from public.contact_addresses a where a.session_id = of_session;
  update public.contacts k set of_number = earlier, identify_at = null
   where k.session_id = of_session and k.of_number is null;
  with back as (
    update public.contacts k set of_number = null,
        identify_at = case when k.phone is null and k.lid is not null then now() end
     where k.session_id = of_session and k.of_number = present
    returning k.*
  )
  insert into public.contact_addresses (session_id, address, contact_id, user_id)
  select b.session_id, app.get_address_key(y), b.id, b.user_id
    from back b cross join unnest(array[b.address, b.phone || '@c.us', b.lid]) y
   where y is not null
   order by b.phone is null, b.created_at, b.id
  on conflict do nothing;
end $$;
revoke execute on function app.file_contacts_by_number from public;
