-- name: free_posts
-- One that does not answer gets one post at a time.
case when e.failures > 0 then 1 else :each end - (
           select count(*) from public.webhook_deliveries b
            where b.endpoint_id = e.id and b.state = 'sending' and b.next_at > clock_timestamp())

-- name: is_served
e.active and not exists (select from public.accounts a where a.user_id = e.user_id and not a.active)

-- name: claim
-- An endpoint is claimed from when it is free, has something due, and its owner may still sign in. The outer condition
-- is asked again of rows that another worker has taken meanwhile.
with able as (
  select e.id, {free_posts} as room
    from public.webhook_endpoints e
   where {is_served} and e.available_at <= clock_timestamp()
     and exists (select from public.webhook_deliveries w where w.endpoint_id = e.id and w.state in ('waiting',
         'sending')
                    and w.next_at <= clock_timestamp())
     for update of e skip locked
), due as (
  select d.id, row_number() over (partition by able.id order by d.next_at) as place
    from able cross join lateral (
      select w.id, w.next_at from public.webhook_deliveries w
       where w.endpoint_id = able.id and w.state in ('waiting', 'sending') and w.next_at <= clock_timestamp()
       order by w.next_at limit greatest(able.room, 0)) d
   order by place limit :limit
)
update public.webhook_deliveries d
   set state = 'sending', attempts = d.attempts + 1, next_at = clock_timestamp() + :lease, tried_at = clock_timestamp()
  from due, public.webhook_endpoints e
 where d.id = due.id and e.id = d.endpoint_id and d.state in ('waiting', 'sending') and d.next_at <= clock_timestamp()
returning d.id, d.endpoint_id, d.user_id, d.kind, d.new_state as what, d.message_id, d.session_id, d.created_at,
          d.attempts as attempt, e.url, e.secret,
          case when e.rotated_at > now() - :rotation then e.previous_secret end as previous_secret

-- name: next_due
-- Of the same endpoints: what may not be claimed must not keep a worker awake either.
select min(greatest(e.available_at, d.next_at)) as due
  from public.webhook_endpoints e cross join lateral (
    select w.next_at from public.webhook_deliveries w where w.endpoint_id = e.id and w.state in ('waiting', 'sending')
     order by w.next_at limit 1) d
 where {is_served} and {free_posts} > 0

-- name: pause_endpoint
update public.webhook_endpoints set
    failures = failures + 1,
    failing_since = coalesce(failing_since, clock_timestamp()),
    available_at = clock_timestamp() + (cast(:pauses as interval[]))[least(failures + 1, :most)],
    active = active and coalesce(failing_since > clock_timestamp() - :give_up, true),
    off_reason = case when active and failing_since <= clock_timestamp() - :give_up then 'failing' else off_reason end
 where id = :id

-- name: purge
delete from public.webhook_deliveries where id = any(array(
  select id from public.webhook_deliveries
   where (state = 'done' and created_at < now() - :done) or created_at < now() - :dead limit :limit))
