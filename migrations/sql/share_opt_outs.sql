-- An address that a contact gets, or that becomes another contact's, brings along what was said under it, and gets what
-- was said under the others: in the same transaction, so that nothing leaves in between.
create or replace function app.share_opt_outs() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform app.share_opt_out(new.contact_id);
  return null;
end $$;
revoke execute on function app.share_opt_outs from public;
create or replace trigger share_opt_outs after insert or update of contact_id on public.contact_addresses
  for each row execute function app.share_opt_outs();
