-- Opens an outage when a session is no longer connected, and has it read back when it is connected again. It begins
-- with the session's last proof of life: nothing says that the session was there any longer.
create or replace function app.record_session_outage() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare began timestamptz;
begin
  if old.status = 'conectado' then
    insert into public.outages (session_id, user_id, from_at, reason, state)
      values (new.id, new.user_id, coalesce(old.last_proof_at, old.connected_at, now()), 'session', 'open')
      on conflict do nothing;
  elsif new.status = 'conectado' then
    delete from public.outages where session_id = new.id and state = 'open' returning from_at into began;
    if began is not null then
      perform app.record_outage('session', began, clock_timestamp(), null, new.id);
    end if;
  end if;
  return null;
end $$;
revoke execute on function app.record_session_outage from public;
create or replace trigger record_outage after update of status on public.whatsapp_sessions for each row
  when (new.status is distinct from old.status) execute function app.record_session_outage();
