-- Writes a delivery for each active endpoint that wants this kind of event. Triggers call it, in the transaction that
-- changes the row: no way of changing it can forget the event, and what is rolled back was never told.
create or replace function app.enqueue_webhook(owner uuid, event text, came_to text, message uuid, session uuid)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.webhook_deliveries (endpoint_id, user_id, kind, new_state, message_id, session_id)
    select e.id, e.user_id, event, came_to, message, session from public.webhook_endpoints e
     where e.active and event = any(e.kinds) and (e.user_id = owner or e.user_id is null);
end $$;
revoke execute on function app.enqueue_webhook from public;
