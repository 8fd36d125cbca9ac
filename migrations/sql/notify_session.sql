-- Tells pages that a session changed. The payload is the topic and its owner's id, nothing private. What only records
-- a check tells nobody.
create or replace function app.notify_session() returns trigger
language plpgsql as $$
begin
  perform pg_notify('live', 'session:' || new.user_id);
  return null;
end $$;
revoke execute on function app.notify_session from public;
create or replace trigger notify after insert or update of status, qr_urlcode, phone_code, scanned_at, reported_state,
    last_proof_at, phone_number, device_name, failure, pairing_started_at
  on public.whatsapp_sessions for each row execute function app.notify_session();
