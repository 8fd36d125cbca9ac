-- Tells pages and the worker that a schedule changed. Not of next_check_at alone: that is the worker's own clock.
create or replace function app.notify_schedule() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('live', 'schedule:' || new.user_id);
  perform pg_notify('schedules', '');
  return null;
end $$;
revoke execute on function app.notify_schedule from public;
create or replace trigger notify after insert or update of updated_at on public.schedules
  for each row execute function app.notify_schedule();
