-- Tells the owner's pages that an occurrence of a schedule was decided, or is no longer skipped.
create or replace function app.notify_schedule_run() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('live', 'schedule:' || coalesce(new.user_id, old.user_id));
  return null;
end $$;
revoke execute on function app.notify_schedule_run from public;
create or replace trigger notify after insert or delete on public.schedule_runs
  for each row execute function app.notify_schedule_run();
