-- name: take_outcomes
-- Whose message it is says the recipient that it went to, also once they wait again.
with taken as (delete from public.cold_outcomes where user_id = :user returning id, message_id, outcome)
select t.message_id, t.outcome, r.released_at as sent_at
  from taken t join public.campaign_recipients r on r.message_id = t.message_id or r.refused_message_id = t.message_id
 order by t.id

-- name: put_back_refused
-- A refused message did not leave, so the recipient may get another one; but not for ever.
update public.campaign_recipients r
   set state = 'waiting', message_id = null, refused_message_id = m.id, retries = r.retries + 1
  from public.messages m
 where r.user_id = :user and r.cold and r.state = 'released' and r.released_at >= :since and r.retries < :most
   and m.id = r.message_id and m.state = 'failed' and m.failure = any(:refusals)
returning r.campaign_id

-- name: take_back_queued
-- Compare and swap: what a worker has begun to send by then is not queued any more, and stays as it is.
with taken as (
  update public.messages set state = 'cancelled', ended_at = clock_timestamp(), updated_at = now()
   where campaign_id in (select id from public.campaigns where user_id = :user) and state = 'queued' and cold
  returning id)
update public.campaign_recipients r
   set state = 'waiting', message_id = null, released_at = null, retries = r.retries + 1
  from taken where r.message_id = taken.id
returning r.campaign_id

-- name: reopen
-- One that ended because nobody waited any more goes on.
update public.campaigns set state = 'active', ended_at = null, updated_at = now()
 where id = any(:campaigns) and state = 'ended'

-- name: settle_arrived
-- WhatsApp took after all what it had refused: whoever waits again because of it does not any more.
update public.campaign_recipients set state = 'released', message_id = refused_message_id
 where refused_message_id = any(:messages) and state = 'waiting'
