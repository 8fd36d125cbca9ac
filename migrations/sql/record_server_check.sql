-- Writes down what a look at a server found. The version is told only while a session runs there: it is kept until the
-- server has restarted, because that is when it can have changed. The start is computed from an uptime, which two looks
-- never round alike: starts up to 5 s apart are the same start.
create or replace function app.record_server_check(
  looked_url text, well boolean, latency integer, told_version text, uptime double precision, code text, detail text
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare began timestamptz := now() - make_interval(secs => uptime);
begin
  if not (app.is_staff() or current_setting('role') = 'service_role') then
    raise exception 'only for staff' using errcode = 'insufficient_privilege';
  end if;
  update public.wpp_servers s set
      healthy = well,
      state_since = case when s.healthy is not distinct from well then s.state_since else now() end,
      checked_at = now(),
      latency_ms = latency,
      version = coalesce(told_version,
        case when abs(extract(epoch from s.started_at - began)) > 5 then null else s.version end),
      started_at = case when abs(extract(epoch from s.started_at - began)) <= 5 then s.started_at
                        else coalesce(began, s.started_at) end,
      error = case when well then s.error else code end,
      error_detail = case when well then s.error_detail else detail end,
      error_at = case when well then s.error_at else now() end
   where s.url = looked_url;
end $$;
revoke execute on function app.record_server_check from public;
grant execute on function app.record_server_check to authenticated, service_role;
