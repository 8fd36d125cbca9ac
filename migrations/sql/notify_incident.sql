-- Tells pages that an incident began or moved on. The pages of the fleet and of its owner draw an incident as they draw
-- a changed session, so it is the same topic.
create or replace function app.notify_incident() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('live', 'session:' || coalesce(new.user_id::text, ''));
  return null;
end $$;
revoke execute on function app.notify_incident from public;
create or replace trigger notify after insert or update of state, steps on public.incidents
  for each row execute function app.notify_incident();
