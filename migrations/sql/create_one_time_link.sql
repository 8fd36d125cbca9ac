-- Makes a link by which a user sets their password. It replaces every earlier link of that user.
create or replace function app.create_one_time_link(wanted uuid, purpose text, token_hash bytea, until timestamptz)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform app.require_manager();
  delete from public.one_time_links l where l.user_id = wanted or l.expires_at < now();
  insert into public.one_time_links (token_hash, user_id, purpose, created_by, expires_at)
    values (create_one_time_link.token_hash, wanted, create_one_time_link.purpose, auth.uid(), until);
end $$;
revoke execute on function app.create_one_time_link from public;
grant execute on function app.create_one_time_link to authenticated;
