-- Claims the oldest session that has expired: the worker then asks its server to delete it and calls
-- `finish_expired_session`. `retention_lease_until` is lease and fence at once: no start begins during the lease, so
-- the server can only meet a session that nobody has begun again.
create or replace function app.claim_expired_session(
  keep interval, history interval, lease interval, passed_over uuid[], servers_down text[]
) returns table (id uuid, name text, server_url text, cleared boolean, since timestamptz, claim timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  return query
    with chosen as (
      select r.id, r.cleared from app.expired_sessions r
       where app.is_session_expired(r.since, r.cleared, r.needed, keep, history)
         and coalesce(r.retention_lease_until < clock_timestamp(), true)
         and r.id <> all(passed_over) and (r.cleared or coalesce(r.server_url <> all(servers_down), true))
       order by r.since limit 1 for update skip locked)
    update public.whatsapp_sessions s set retention_lease_until = clock_timestamp() + lease
      from chosen where s.id = chosen.id
    returning s.id, s.session_id, s.server_url, chosen.cleared, s.updated_at, s.retention_lease_until;
end $$;
revoke execute on function app.claim_expired_session from public;
grant execute on function app.claim_expired_session to service_role;
