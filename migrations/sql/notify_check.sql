-- Tells the worker that a session is to be checked now.
create or replace function app.notify_check() returns trigger
language plpgsql as $$
begin
  perform pg_notify('checks', '');
  return null;
end $$;
revoke execute on function app.notify_check from public;
create or replace trigger notify_check after insert or update of check_at on public.whatsapp_sessions
  for each row when (new.check_at <= now()) execute function app.notify_check();
