-- Tables and views that hold data of users, and how many rows each has, up to a thousand. For staff's live proof of
-- isolation: a refusal proves something only where there is something to refuse. It runs as the owner of the database;
-- where row-level security binds that one, too, it counts only what a policy lets it see.
create or replace function app.tenant_tables()
returns table (schema_name text, table_name text, is_view boolean, filled integer)
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
  if app.is_staff() is not true then
    raise exception 'only for staff' using errcode = 'insufficient_privilege';
  end if;
  for schema_name, table_name, is_view in
    select n.nspname, c.relname, c.relkind in ('v', 'm')
      from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where (n.nspname = 'public' and c.relkind in ('r', 'p') and (c.relrowsecurity or exists (
              select from pg_catalog.pg_attribute a
               where a.attrelid = c.oid and a.attname = 'user_id' and not a.attisdropped)))
        or (n.nspname in ('public', 'app') and c.relkind in ('v', 'm') and not exists (
              select from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'e'))
     order by 1, 2
  loop
    begin
      execute format('select count(*) from (select from %I.%I limit 1000) x', schema_name, table_name) into filled;
    exception when insufficient_privilege then
      filled := 0;
    end;
    return next;
  end loop;
end $$;
revoke execute on function app.tenant_tables from public;
grant execute on function app.tenant_tables to authenticated;
