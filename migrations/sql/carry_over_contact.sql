-- What a session's owner has said of a person by an earlier number counts by the present one, too: the name, the labels,
-- the notes, and that nothing is written to them.
create or replace function app.carry_over_contact(made uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update public.contacts k set name = o.name, name_typed = o.name_typed, notes = o.notes, labels = o.labels,
      blocked_at = o.blocked_at
    from (
      select e.* from public.contacts n join public.contacts e
        on e.session_id = n.session_id and e.of_number is not null and (
          app.get_address_key(e.address) = app.get_address_key(n.address)
          or app.get_address_key(e.phone) = app.get_address_key(n.phone) or e.lid = n.lid)
       where n.id = made
       order by e.updated_at desc limit 1) o
   where k.id = made;
end $$;
revoke execute on function app.carry_over_contact from public;
