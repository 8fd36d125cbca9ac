-- Writes into the messages that waited since when they did, as their lane stops waiting. The lane forgets it and they
-- do not, so that an outage in pieces is as long as its pieces.
create or replace function app.record_waiting() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- Locked rows are skipped: who holds such a row is just settling it or taking it back, and may wait for this lane.
  update public.messages set waiting_since = greatest(run_at, old.waiting_since) where id in (
    select m.id from public.messages m
     where m.session_id = new.session_id and m.state = 'queued' and m.asked_at is null and m.waiting_since is null
       and m.run_at <= clock_timestamp() for update skip locked);
  return null;
end $$;
revoke execute on function app.record_waiting from public;
create or replace trigger record_waiting after update of waiting_since on public.lanes
  for each row when (old.waiting_since is not null and new.waiting_since is null)
  execute function app.record_waiting();
