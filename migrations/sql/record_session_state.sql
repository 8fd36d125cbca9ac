-- Writes into a session's timeline what became of it. The row itself does it, so that no way of changing a status can
-- forget it.
create or replace function app.record_session_state() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.session_timeline (session_id, user_id, kind, action, detail) values (
    new.id, new.user_id, 'state',
    case when new.status is distinct from old.status then new.status
         when new.server_url is distinct from old.server_url then 'moved' else 'scanned' end,
    jsonb_strip_nulls(jsonb_build_object('failure', new.failure, 'reported_state', new.reported_state,
      'proof', case when new.status = 'conectado' then new.last_proof_kind end)));
  return null;
end $$;
revoke execute on function app.record_session_state from public;
create or replace trigger record_state after update of status, server_url, scanned_at on public.whatsapp_sessions
  for each row when (new.status is distinct from old.status or new.server_url is distinct from old.server_url
    or (new.scanned_at is not null and old.scanned_at is null))
  execute function app.record_session_state();
-- A first pairing begins with an insert, which the trigger above does not see.
create or replace trigger record_first_state after insert on public.whatsapp_sessions
  for each row when (new.status = 'pareando') execute function app.record_session_state();
