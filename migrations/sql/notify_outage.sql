-- Tells the owner's pages that an outage changed, and the worker when there is one to read back.
create or replace function app.notify_outage() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if new.state = 'waiting' then
    perform pg_notify('backfill', '');
  end if;
  perform pg_notify('live', 'message:' || new.user_id);
  return null;
end $$;
revoke execute on function app.notify_outage from public;
create or replace trigger notify after insert or update of state, recovered on public.outages
  for each row execute function app.notify_outage();
