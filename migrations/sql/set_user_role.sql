-- Gives a user another role.
create or replace function app.set_user_role(wanted uuid, as_role text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform app.require_manager();
  if as_role not in ('admin', 'operator', 'user') then
    raise exception 'unknown role' using errcode = 'check_violation';
  end if;
  if as_role <> 'admin' then
    perform app.require_other_admin(wanted);
  end if;
  update auth.users u set updated_at = now(),
         raw_app_meta_data = coalesce(u.raw_app_meta_data, '{}') || jsonb_build_object('role', as_role)
   where u.id = wanted;
end $$;
revoke execute on function app.set_user_role from public;
grant execute on function app.set_user_role to authenticated;
