-- Raises unless an admin asks, and where users are managed elsewhere (PL001). Then it waits until other admins are
-- done, so that two cannot each be the other's last one.
create or replace function app.require_manager() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not app.is_admin() then
    raise exception 'only for admins' using errcode = 'insufficient_privilege';
  end if;
  if not app.manages_users() then
    raise exception 'users are managed elsewhere' using errcode = 'PL001';
  end if;
  perform pg_advisory_xact_lock(hashtext('plushify-users'));
end $$;
revoke execute on function app.require_manager from public;
