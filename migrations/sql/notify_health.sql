-- Tells the worker's healing that a session came up or fell. A session that fell and is wanted is looked after at once,
-- not at the next round; with its return its healing ends.
create or replace function app.notify_health() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('health', '');
  return null;
end $$;
revoke execute on function app.notify_health from public;
create or replace trigger notify_health after update of status on public.whatsapp_sessions for each row
  when (old.status is distinct from new.status and (new.status = 'conectado'
    or (old.status = 'conectado' and new.status = 'desconectado' and new.desired_connected)))
  execute function app.notify_health();
