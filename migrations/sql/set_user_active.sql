-- Shuts a user out, together with all their tokens, or lets them in again.
create or replace function app.set_user_active(wanted uuid, to_be boolean) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform app.require_manager();
  if not to_be then
    perform app.require_other_admin(wanted);
  end if;
  insert into public.accounts as a (user_id, active, token_version) values (wanted, to_be, 2)
    on conflict (user_id) do update
      set active = to_be, token_version = a.token_version + (not to_be)::integer, updated_at = now();
end $$;
revoke execute on function app.set_user_active from public;
grant execute on function app.set_user_active to authenticated;
