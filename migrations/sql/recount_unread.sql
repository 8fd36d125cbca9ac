-- How much of a conversation is unread: what came after the moment up to which it was read on the phone.
create or replace function app.recount_unread(of_contact uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update public.contacts k set unread = least(k.unread, (
    select count(*) from public.messages m
     where m.contact_id = k.id and m.direction = 'in' and m.occurred_at > k.read_until and m.kind <> 'revoked'))
   where k.id = of_contact and k.unread > 0;
end $$;
revoke execute on function app.recount_unread from public;
grant execute on function app.recount_unread to service_role;
