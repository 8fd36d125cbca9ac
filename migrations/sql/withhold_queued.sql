-- Takes back what waits to leave to somebody who asks for silence: what campaigns, schedules and rules queued. What a
-- person wrote by hand leaves; what a worker has begun to send is not queued any more, and stays as it is.
create or replace function app.withhold_queued() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  with waiting as (
    select m.id, m.phone, m.campaign_id, m.schedule_id, m.detail
      from public.messages m join public.whatsapp_sessions s on s.id = m.session_id
     where s.user_id = new.user_id and m.state = 'queued' and m.asked_at is null
    union all
    select m.id, m.phone, m.campaign_id, m.schedule_id, m.detail
      from public.messages m
     where m.user_id = new.user_id and m.state = 'queued' and m.asked_at is not null
  ), taken as (
    update public.messages m
       set state = 'cancelled', failure = 'opted_out', ended_at = clock_timestamp(), updated_at = now()
      from waiting w
     where m.id = w.id and m.state = 'queued' and app.get_address_key(w.phone) = new.address_key
       and (w.campaign_id is not null or w.schedule_id is not null or w.detail ? 'auto_reply')
    returning m.id
  )
  update public.campaign_recipients r set state = 'skipped', reason = 'opted_out' from taken where r.message_id = taken.id;
  return null;
end $$;
revoke execute on function app.withhold_queued from public;
create or replace trigger withhold_queued after insert or update of said_at, ended_at on public.opt_outs
  for each row when (new.ended_at is null) execute function app.withhold_queued();
