-- Whether the current request comes from an admin or an operator.
create or replace function app.is_staff() returns boolean
language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claims', true), '')::json -> 'app_metadata' ->> 'role'
      in ('admin', 'operator'), false)
$$;
revoke execute on function app.is_staff from public;
grant execute on function app.is_staff to authenticated, service_role;
