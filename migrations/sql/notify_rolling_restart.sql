-- Tells pages and the worker that a rolling restart, or what became of one of its sessions, changed.
create or replace function app.notify_rolling_restart() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('live', 'session:');
  perform pg_notify('rolling_restarts', '');
  return null;
end $$;
revoke execute on function app.notify_rolling_restart from public;
create or replace trigger notify after insert or update on public.rolling_restarts
  for each row execute function app.notify_rolling_restart();
create or replace trigger notify after update on public.rolling_restart_items
  for each row execute function app.notify_rolling_restart();
