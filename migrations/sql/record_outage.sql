-- Records an outage, to be read back, for each connected session: of one server, or one session only, or all where both
-- are null. Triggers call it, and the worker where the receiver or the database was away.
create or replace function app.record_outage(
  cause text, began timestamptz, ended timestamptz, of_server text, of_session uuid
) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  -- WhatsApp Web, once back, first has to get from the phone what it has missed.
  due timestamptz := clock_timestamp() + case when cause in ('session', 'server') then interval '10 seconds'
                                              else interval '0' end;
begin
  -- Two of the same session that nobody has begun to read become one.
  insert into public.outages as g (session_id, user_id, from_at, to_at, reason, next_at)
    select s.id, s.user_id, began, ended, cause, due from public.whatsapp_sessions s
     where s.status = 'conectado' and (of_server is null or s.server_url = of_server)
       and (of_session is null or s.id = of_session)
    on conflict (session_id) where state = 'waiting' and attempts = 0 and reason <> 'asked' do update
      set from_at = least(g.from_at, excluded.from_at), to_at = greatest(g.to_at, excluded.to_at),
          next_at = excluded.next_at;
  perform pg_notify('backfill', '');
end $$;
revoke execute on function app.record_outage from public;
grant execute on function app.record_outage to service_role;
