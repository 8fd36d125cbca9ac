-- Ends one sign-in before its token expires.
create or replace function app.sign_out(sign_in uuid, until timestamptz) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  delete from public.signed_out where expires_at < now();
  insert into public.signed_out (sign_in_id, expires_at) values (sign_in, least(until, now() + interval '31 days'))
    on conflict do nothing;
$$;
revoke execute on function app.sign_out from public;
