-- Tells the pages that a clean-up changed, and the worker that a new one was asked for.
create or replace function app.notify_cleanup() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('live', 'cleanup:');
  if tg_op = 'INSERT' then
    perform pg_notify('cleanup', '');
  end if;
  return null;
end $$;
revoke execute on function app.notify_cleanup from public;
create or replace trigger notify after insert or update on public.cleanup_runs
  for each row execute function app.notify_cleanup();
