-- Tells the worker and the campaign pages that a lane was stopped or started again.
create or replace function app.notify_lane() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('lanes', '');
  perform pg_notify('campaigns', '');
  perform pg_notify('live', 'campaign:' || s.user_id) from public.whatsapp_sessions s where s.id = new.session_id;
  return null;
end $$;
revoke execute on function app.notify_lane from public;
create or replace trigger notify after update of stopped_at on public.lanes
  for each row execute function app.notify_lane();
