-- Holds a lane while its session is down, or is up and its server has not said yet whose number it is, and lets it go
-- after that: another phone may have been paired. A trigger, so that whoever moves a session moves its lane with it, in
-- the same transaction.
create or replace function app.hold_lane() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if new.status = 'conectado' and new.settling_since is null then
    update public.lanes set waiting_reason = null, waiting_since = null, retry_at = null, tries = 0
     where session_id = new.id and waiting_reason is not null;
  else
    update public.lanes set waiting_reason = 'session', waiting_since = coalesce(waiting_since, clock_timestamp()),
           retry_at = 'infinity'
     where session_id = new.id and retry_at is distinct from 'infinity'::timestamptz;
  end if;
  return null;
end $$;
revoke execute on function app.hold_lane from public;
create or replace trigger hold_lane after update of status, settling_since on public.whatsapp_sessions
  for each row when (old.status is distinct from new.status
    or (old.settling_since is null) is distinct from (new.settling_since is null)) execute function app.hold_lane();
