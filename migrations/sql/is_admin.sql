-- Whether the current request comes from an admin.
create or replace function app.is_admin() returns boolean
language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claims', true), '')::json -> 'app_metadata' ->> 'role' = 'admin', false)
$$;
revoke execute on function app.is_admin from public;
grant execute on function app.is_admin to authenticated, service_role;
