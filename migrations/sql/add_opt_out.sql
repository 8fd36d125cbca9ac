-- Notes for the current person that somebody (digits, or a @lid) asked them for silence; false where it is in effect.
create or replace function app.add_opt_out(its_phone text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if auth.uid() is null then
    raise insufficient_privilege using message = 'only a signed-in user notes it';
  end if;
  return not exists (select from public.opt_outs o
                      where o.user_id = auth.uid() and o.address_key = app.get_address_key(its_phone) and o.ended_at is null)
    and app.note_opt_out(auth.uid(), its_phone, null, now());
end $$;
revoke execute on function app.add_opt_out from public;
grant execute on function app.add_opt_out to authenticated;
