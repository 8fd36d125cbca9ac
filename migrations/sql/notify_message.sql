-- Tells its owner's pages that a conversation changed: a message, a contact, or what was added to a message later (the
-- trigger on `message_annotations` is made with that table).
create or replace function app.notify_message() returns trigger
language plpgsql as $$
begin
  perform pg_notify('live', 'message:' || new.user_id);
  return null;
end $$;
revoke execute on function app.notify_message from public;
-- A NOTIFY makes commits wait for each other. Where many messages move in a second, the code that moves them notifies
-- once they are committed and says so in its transaction; for all others this trigger does it.
create or replace trigger notify after insert or update of state on public.messages
  for each row when (coalesce(current_setting('app.notifies_at_commit', true), '') <> 'on')
  execute function app.notify_message();
create or replace trigger notify after update of unread, name, labels, blocked_at on public.contacts
  for each row execute function app.notify_message();
