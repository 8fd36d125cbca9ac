-- Whether users are managed here: where auth.users belongs to somebody else (Supabase), they are managed there.
-- It runs as the owner of the database, whose name it compares.
create or replace function app.manages_users() returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select c.relowner = (select r.oid from pg_catalog.pg_roles r where r.rolname = current_user)
    from pg_catalog.pg_class c where c.oid = 'auth.users'::regclass
$$;
revoke execute on function app.manages_users from public;
grant execute on function app.manages_users to authenticated;
