-- The role that the token of the current request claims; null without a token.
create or replace function app.claimed_role() returns text
language sql stable as $$
  select nullif(current_setting('request.jwt.claims', true), '')::json -> 'app_metadata' ->> 'role'
$$;
revoke execute on function app.claimed_role from public;
grant execute on function app.claimed_role to authenticated, service_role;
