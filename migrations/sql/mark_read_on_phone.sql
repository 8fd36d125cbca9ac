-- An own message that was typed on the phone at `said`: whoever typed it has read what came before. What leaves through
-- us may be told of before its id is known here: while it is under way the same words do not count as typed.
create or replace function app.mark_read_on_phone(of_contact uuid, said timestamptz, says text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  update public.contacts k set read_until = said
   where k.id = of_contact and coalesce(k.read_until, '-infinity') < said and not exists (
     select from public.messages m
      where m.session_id = k.session_id and m.state in ('sending', 'uncertain') and m.direction = 'out'
        and m.sending_at > said - interval '1 hour' and m.body = says
        and (m.contact_id = k.id or app.may_be_one_person(m.contact_id, k.id)));
  if found then
    perform app.recount_unread(of_contact);
  end if;
end $$;
revoke execute on function app.mark_read_on_phone from public;
grant execute on function app.mark_read_on_phone to service_role;
