-- Tells the worker that a delivery waits, and the pages that one changed.
create or replace function app.notify_webhook() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if new.state = 'waiting' then
    perform pg_notify('webhooks', '');
  end if;
  perform pg_notify('live', 'webhook:' || coalesce(new.user_id::text, ''));
  return null;
end $$;
revoke execute on function app.notify_webhook from public;
create or replace trigger notify after insert or update of state on public.webhook_deliveries
  for each row execute function app.notify_webhook();
