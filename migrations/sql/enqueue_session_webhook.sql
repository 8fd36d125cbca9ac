-- Tells the endpoints of a new session and of each change of a session's status.
create or replace function app.enqueue_session_webhook() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform app.enqueue_webhook(new.user_id, 'session.status', new.status, null, new.id);
  return null;
end $$;
revoke execute on function app.enqueue_session_webhook from public;
create or replace trigger enqueue_created after insert on public.whatsapp_sessions for each row
  execute function app.enqueue_session_webhook();
create or replace trigger enqueue_status after update of status on public.whatsapp_sessions for each row
  when (new.status is distinct from old.status) execute function app.enqueue_session_webhook();
