-- Tells the endpoints of a message that came in, and of a state that a message of ours came to.
create or replace function app.enqueue_message_webhook() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform app.enqueue_webhook(new.user_id,
    case new.direction when 'in' then 'message.received' else 'message.state' end,
    new.state, new.id, new.session_id);
  return null;
end $$;
revoke execute on function app.enqueue_message_webhook from public;
-- What cannot be read yet is told of when it can.
create or replace trigger enqueue_received after insert on public.messages for each row
  when (new.direction = 'in' and new.kind not in ('ciphertext', 'revoked'))
  execute function app.enqueue_message_webhook();
create or replace trigger enqueue_state after update of state on public.messages for each row
  when (new.direction = 'out' and new.state is distinct from old.state
        and new.state in ('sent', 'delivered', 'read', 'failed', 'uncertain'))
  execute function app.enqueue_message_webhook();
create or replace trigger enqueue_readable after update of kind on public.messages for each row
  when (new.direction = 'in' and old.kind = 'ciphertext' and new.kind <> 'ciphertext')
  execute function app.enqueue_message_webhook();
