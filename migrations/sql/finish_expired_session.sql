-- Ends a claim after the server has deleted its part: 'deleted', or 'kept' without codes while messages need the row.
-- Null where something moved the row meanwhile, which shows in its status or `updated_at`: then it stays as it is.
create or replace function app.finish_expired_session(
  wanted uuid, seen timestamptz, claimed timestamptz, keep interval, history interval
) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- Locked in a statement of its own: a message that is just being stored holds the row, and is seen below.
  perform from public.whatsapp_sessions s where s.id = wanted for update;
  delete from public.whatsapp_sessions s using app.expired_sessions r
   where s.id = wanted and r.id = wanted and r.since = seen and r.retention_lease_until = claimed
     and r.since < now() - keep and coalesce(r.needed < now() - history, true);
  if found then
    return 'deleted';
  end if;
  update public.whatsapp_sessions s set
      cleared_at = clock_timestamp(), retention_lease_until = null, qr_code = null, qr_urlcode = null,
      qr_received_at = null, qr_expires_at = null, qr_count = 0, phone_code = null, phone_code_at = null,
      pairing_phone = null, scanned_at = null, device_name = null
   where s.id = wanted and s.status = 'desconectado' and s.updated_at = seen and s.retention_lease_until = claimed;
  if found then
    return 'kept';
  end if;
  perform app.release_expired_session(wanted, claimed, false);
  return null;
end $$;
revoke execute on function app.finish_expired_session from public;
grant execute on function app.finish_expired_session to service_role;
