-- Gives a claimed session back. With `ask`, its server is asked for its state: it said that the session is up.
create or replace function app.release_expired_session(wanted uuid, claimed timestamptz, ask boolean) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  update public.whatsapp_sessions
     set retention_lease_until = null, check_at = case when ask then now() else check_at end
   where id = wanted and retention_lease_until = claimed
$$;
revoke execute on function app.release_expired_session from public;
grant execute on function app.release_expired_session to service_role;
