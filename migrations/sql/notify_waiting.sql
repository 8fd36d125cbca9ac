-- Tells the worker that a lane may be tried again at once, and pages that what is due in it waits for something else,
-- or no longer.
create or replace function app.notify_waiting() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if new.retry_at is null then
    perform pg_notify('lanes', '');
  end if;
  if new.due_at is not null and new.waiting_reason is distinct from old.waiting_reason then
    perform pg_notify('live', what || s.user_id)
       from public.whatsapp_sessions s cross join unnest(array['message:', 'campaign:']) as topic (what)
      where s.id = new.session_id;
  end if;
  return null;
end $$;
revoke execute on function app.notify_waiting from public;
create or replace trigger notify_waiting after update of waiting_reason, retry_at on public.lanes for each row
  when (old.waiting_reason is distinct from new.waiting_reason or (old.retry_at is not null and new.retry_at is null))
  execute function app.notify_waiting();
