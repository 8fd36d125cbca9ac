-- name: claim_lanes
-- Those that are due, and those of whose messages to strangers something is to be counted.
update public.campaign_lanes set next_check_at = :leased where user_id in (
  select l.user_id from public.campaign_lanes l
   where l.user_id in (
     select user_id from public.campaign_lanes where next_check_at <= :now
     union select user_id from public.cold_outcomes)
   order by l.next_check_at limit 20 for update skip locked)
returning user_id, next_check_at

-- name: next_due
select case when exists (select from public.cold_outcomes join public.campaign_lanes using (user_id))
  then clock_timestamp() else (select min(next_check_at) from public.campaign_lanes where next_check_at is not null) end

-- name: lock_number
-- Taken before any lane, so that two sessions of one number never wait for each other's lanes.
select pg_advisory_xact_lock(hashtextextended('pace ' || coalesce(app.get_line_of_user(:user), cast(:user as text)), 0))

-- name: rest_number
-- What another session of the same number sends rests as well.
update public.campaign_lanes set available_at = greatest(available_at, :until)
 where user_id <> :user and user_id in (select app.list_users_of_number(:session))

-- name: first_waiting
-- Of strangers, those whom WhatsApp has refused come last: one who refuses for a reason of their own holds up nobody.
select c.id as campaign_id,
       (select seq from public.campaign_recipients
         where campaign_id = c.id and state = 'waiting' and not cold order by retries, seq limit 1) as warm,
       (select seq from public.campaign_recipients
         where campaign_id = c.id and state = 'waiting' and cold order by retries, seq limit 1) as cold
  from unnest(cast(:campaigns as uuid[])) as c (id)

-- name: claim_cancelled
update public.campaigns set swept_at = clock_timestamp() where id in (
  select id from public.campaigns where state = 'cancelled' and swept_at is null limit 20 for update skip locked)
returning id

-- name: cancel_queued
-- Compare and swap: what a worker has begun to send by then is not queued any more, and stays as it is.
with taken as (
  update public.messages set state = 'cancelled', ended_at = clock_timestamp(), updated_at = now()
   where campaign_id = :campaign and state = 'queued' returning id)
update public.campaign_recipients r set state = 'cancelled' from taken where r.message_id = taken.id

-- name: cancel_waiting
update public.campaign_recipients set state = 'cancelled' where campaign_id = :campaign and state = 'waiting'
