-- A user's role; whatever is no known role is `user`.
create or replace function app.parse_role(meta jsonb) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case when meta ->> 'role' in ('admin', 'operator', 'user') then meta ->> 'role' else 'user' end
$$;
revoke execute on function app.parse_role from public;
