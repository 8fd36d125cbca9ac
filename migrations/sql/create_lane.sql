-- A lane that begins while its session is down, or not settled yet, waits for the session from the start.
create or replace function app.create_lane() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if exists (select from public.whatsapp_sessions s where s.id = new.session_id and (s.status <> 'conectado' or s.settling_since is not null)) then
    new.waiting_reason := 'session';
    new.waiting_since := clock_timestamp();
    new.retry_at := 'infinity';
  end if;
  return new;
end $$;
revoke execute on function app.create_lane from public;
create or replace trigger create_lane before insert on public.lanes
  for each row execute function app.create_lane();
