-- Under what the sign-in attempts of an e-mail are counted.
create or replace function app.email_key(email text) returns bytea
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select sha256(convert_to(lower(email), 'UTF8'))
$$;
revoke execute on function app.email_key from public;
