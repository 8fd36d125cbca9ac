-- Tells the owner's pages that a campaign, one of its recipients or its lane changed, and the worker, too, where it was
-- no recipient: those the worker changes itself.
create or replace function app.notify_campaign() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('live', 'campaign:' || new.user_id);
  if tg_table_name <> 'campaign_recipients' then
    perform pg_notify('campaigns', '');
  end if;
  return null;
end $$;
revoke execute on function app.notify_campaign from public;
create or replace trigger notify after insert or update on public.campaigns
  for each row execute function app.notify_campaign();
create or replace trigger notify after update of state on public.campaign_recipients
  for each row execute function app.notify_campaign();
-- Not of next_check_at and available_at: those are the worker's own clock.
create or replace trigger notify after insert or update of time_zone, waiting_reason on public.campaign_lanes
  for each row execute function app.notify_campaign();
