-- name: no_open_incident
  not exists (select from public.incidents f where f.session_id = s.id and f.ended_at is null and f.kind in (
    'zombie', 'dropped', 'silent', 'stuck'))

-- name: shares_number
  s.status = 'conectado' and s.settling_since is null and exists (
    select from public.whatsapp_sessions o
     where o.id <> s.id and o.status = 'conectado' and o.settling_since is null
       and app.get_address_key(o.phone_number) = app.get_address_key(s.phone_number))

-- name: detect_dropped
-- A moment's grace after a close, because whoever restarts a session by other means goes through the same status; and
-- after a loss that was found by asking, because the server's own word, on its way, says whether a start can help.
insert into public.incidents (session_id, user_id, server_url, kind)
select s.id, s.user_id, s.server_url, 'dropped' from public.whatsapp_sessions s
 where s.status = 'desconectado' and s.failure is not null and s.desired_connected
   and (s.failure not in ('closed', 'lost') or s.updated_at < clock_timestamp() - interval '3 seconds')
   and {no_open_incident}
on conflict do nothing returning session_id, user_id, kind

-- name: detect_stuck
-- One that waits for an earlier browser to end was not asked for yet.
insert into public.incidents (session_id, user_id, server_url, kind)
select s.id, s.user_id, s.server_url, 'stuck' from public.whatsapp_sessions s
 where s.status = 'pareando' and s.qr_count = 0 and s.phone_code is null and s.scanned_at is null
   and s.start_at is null
   and greatest(s.pairing_started_at, s.start_asked_at) < clock_timestamp() - make_interval(secs => :stuck)
   and {no_open_incident}
on conflict do nothing returning session_id, user_id, kind

-- name: detect_unacked
insert into public.incidents (session_id, user_id, server_url, kind, state)
select s.id, s.user_id, s.server_url, 'unacked', 'needs_person' from public.whatsapp_sessions s
 where s.id in (select m.session_id from public.messages m
   where m.state = 'accepted' and m.accepted_at < clock_timestamp() - make_interval(secs => :unacked)
     and m.accepted_at > clock_timestamp() - interval '1 day')
on conflict do nothing returning session_id, user_id, kind

-- name: detect_restricted
-- Counted by the campaigns' release, which also sees when it is over.
insert into public.incidents (session_id, user_id, server_url, kind, state)
select s.id, s.user_id, s.server_url, 'restricted', 'needs_person' from public.whatsapp_sessions s
 where s.user_id in (select user_id from public.campaign_lanes where restricted_at is not null)
on conflict do nothing returning session_id, user_id, kind

-- name: detect_silent
-- Silence is measured against the session itself: in these hours of the day it spoke on most of the last days.
insert into public.incidents (session_id, user_id, server_url, kind)
select s.id, s.user_id, s.server_url, 'silent' from public.whatsapp_sessions s
 where s.status = 'conectado' and s.connected_at < clock_timestamp() - make_interval(secs => :silence)
   and {no_open_incident}
   and not exists (select from public.session_hours h where h.session = s.session_id
     and h.hour > clock_timestamp() - make_interval(secs => :silence) - interval '1 hour'
     and h.last_at > clock_timestamp() - make_interval(secs => :silence))
   and 5 <= (select count(distinct date_trunc('day', h.hour)) from public.session_hours h
     where h.session = s.session_id and h.events >= 3
       and h.hour between clock_timestamp() - interval '14 days' and clock_timestamp() - interval '12 hours'
       and extract(hour from h.hour) = extract(hour from clock_timestamp() - make_interval(secs => :silence / 2)))
on conflict do nothing returning session_id, user_id, kind

-- name: detect_unpaired
-- Told once for each ending, and only while it is news.
insert into public.incidents (session_id, user_id, server_url, kind, state)
select s.id, s.user_id, s.server_url, k.kind, 'needs_phone' from public.whatsapp_sessions s
  cross join lateral (select case when s.failure in ('phone_logged_out', 'logged_out') then 'logged_out'
    else 'not_scanned' end as kind) k
 where s.status = 'desconectado' and s.failure in ('phone_logged_out', 'logged_out', 'qr_not_scanned', 'qr_read_failed')
   and s.updated_at > clock_timestamp() - interval '1 day'
   and not exists (select from public.incidents f where f.session_id = s.id and f.kind = k.kind
     and (f.ended_at is null or f.detected_at > s.updated_at)) and {no_open_incident}
on conflict do nothing returning session_id, user_id, kind

-- name: detect_same_number
-- Two sessions that are up as one number: whatever comes in comes in twice. Nothing heals it but one of them going.
insert into public.incidents (session_id, user_id, server_url, kind, state)
select s.id, s.user_id, s.server_url, 'same_number', 'needs_person' from public.whatsapp_sessions s
 where {shares_number}
on conflict do nothing returning id

-- name: insert_incidents
insert into public.incidents (session_id, user_id, server_url, kind)
select s.id, s.user_id, s.server_url, :kind from public.whatsapp_sessions s where s.id = any(:ids)
on conflict do nothing returning session_id, user_id

-- name: insert_server_down
insert into public.incidents (server_url, kind, state) values (:server, 'server_down', 'needs_person')
on conflict do nothing

-- name: end_server_down
update public.incidents set state = 'healed', ended_at = clock_timestamp()
 where server_url = :server and kind = 'server_down' and ended_at is null

-- name: check_connected
-- Whoever restarted may have lost any of them, whatever was proved before.
update public.whatsapp_sessions set check_at = now() where server_url = :server and status = 'conectado'

-- name: update_states
update public.incidents f set state = n.state,
       ended_at = case when n.state in ('healed', 'over') then clock_timestamp() end,
       notified_at = case when n.state in ('healed', 'over') then f.notified_at end
  from (
    select f.id, case
        when f.kind in ('zombie', 'dropped', 'logged_out', 'not_scanned', 'stuck') and s.status = 'conectado'
             and s.last_proof_at > greatest(f.detected_at, f.acted_at) then 'healed'
        when f.kind = 'silent' and exists (select from public.session_hours h where h.session = s.session_id
             and h.last_at > greatest(f.detected_at, f.acted_at)) then 'healed'
        when f.kind = 'stuck' and (s.qr_count > 0 or s.phone_code is not null or s.scanned_at is not null) then 'healed'
        when f.kind = 'stuck' and s.status <> 'pareando' then 'over'
        when f.kind = 'unacked' and not exists (select from public.messages m where m.session_id = s.id
             and m.state = 'accepted' and m.accepted_at < clock_timestamp() - make_interval(secs => :unacked)
             and m.accepted_at > clock_timestamp() - interval '1 day') then 'healed'
        when f.kind = 'restricted' and not exists (select from public.campaign_lanes l
             where l.user_id = s.user_id and l.restricted_at is not null) then 'healed'
        when f.kind in ('zombie', 'dropped', 'silent') and s.status = 'desconectado'
            and not s.desired_connected then 'over'
        when f.kind in ('zombie', 'dropped', 'silent') and s.status = 'pareando'
             and (s.qr_count > 0 or s.phone_code is not null) then 'needs_phone'
        when f.kind in ('zombie', 'dropped', 'silent') and s.status = 'desconectado'
             and s.failure in ('qr_not_scanned', 'qr_read_failed') then 'needs_phone'
        when f.kind = 'same_number' and not ({shares_number}) then 'over'
        when f.kind in ('logged_out', 'not_scanned') and f.detected_at < clock_timestamp() - interval '7 days'
            then 'over'
      end as state
      from public.incidents f join public.whatsapp_sessions s on s.id = f.session_id
     where f.ended_at is null) n
 where n.id = f.id and n.state is not null and n.state <> f.state
returning f.session_id, f.user_id, f.kind, f.state
