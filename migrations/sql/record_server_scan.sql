-- Writes down what a scan of a server warns of.
create or replace function app.record_server_scan(scanned_url text, found_warnings text[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not (app.is_staff() or current_setting('role') = 'service_role') then
    raise exception 'only for staff' using errcode = 'insufficient_privilege';
  end if;
  update public.wpp_servers set scanned_at = now(), warnings = found_warnings where url = scanned_url;
end $$;
revoke execute on function app.record_server_scan from public;
grant execute on function app.record_server_scan to authenticated, service_role;
