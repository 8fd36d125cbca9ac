-- Tells the owner's pages that WhatsApp has begun or ceased to refuse their new conversations.
create or replace trigger notify_restriction after update of restricted_at, probe_at on public.campaign_lanes
  for each row when ((new.restricted_at, new.probe_at) is distinct from (old.restricted_at, old.probe_at))
  execute function app.notify_campaign();
