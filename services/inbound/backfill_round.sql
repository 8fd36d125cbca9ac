-- name: claim_outages
-- Whoever waits for a session to come back and to say whose number it is, or for the inbox to be read, is not due. The outer condition is asked again
-- of rows that another worker has taken meanwhile.
with running as (
  select s.server_url, count(*) as number from public.outages g join public.whatsapp_sessions s on s.id = g.session_id
   where g.state = 'reading' and g.next_at > clock_timestamp() group by 1
), ready as (
  select g.id, s.session_id as session_name, s.server_url,
         row_number() over (partition by s.server_url order by g.next_at) as place
    from public.outages g join public.whatsapp_sessions s on s.id = g.session_id
   where g.state in ('waiting', 'reading') and g.next_at <= clock_timestamp()
     and s.status = 'conectado' and s.settling_since is null and s.server_url is not null
     and not exists (select from public.events e where e.session = s.session_id and e.verdict = 'received')
), chosen as (
  select r.* from ready r left join running u using (server_url)
   where r.place + coalesce(u.number, 0) <= :each order by r.place limit :limit
)
update public.outages g
   set state = 'reading', attempts = g.attempts + 1, next_at = clock_timestamp() + :lease
  from chosen c
 where g.id = c.id and g.state in ('waiting', 'reading') and g.next_at <= clock_timestamp()
returning g.id, g.session_id, g.user_id, g.from_at, g.to_at, g.listed_at is not null as listed, g.attempts as attempt,
          c.session_name, c.server_url
