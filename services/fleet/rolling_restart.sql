-- name: add_sessions
insert into public.rolling_restart_items (rolling_restart_id, session_id, user_id, server_url)
select :rolling_restart, s.id, s.user_id, s.server_url from public.whatsapp_sessions s
 where s.status = 'conectado' and (cast(:server as text) is null or s.server_url = :server)

-- name: update_sessions
update public.rolling_restart_items i set state = n.state
  from (select i.rolling_restart_id, i.session_id, case
            when s.status = 'conectado' and s.settling_since is null and s.connected_at > i.started_at then 'done'
            when i.started_at < clock_timestamp() - make_interval(secs => :seconds) then 'failed' end as state
          from public.rolling_restart_items i join public.whatsapp_sessions s on s.id = i.session_id
         where i.state = 'under_way') n
 where n.rolling_restart_id = i.rolling_restart_id and n.session_id = i.session_id and n.state is not null

-- name: mark_ended
update public.rolling_restarts w set ended_at = clock_timestamp()
 where w.ended_at is null
   and not exists (select from public.rolling_restart_items i where i.rolling_restart_id = w.id
       and i.state in ('waiting', 'under_way'))

-- name: claim_next
-- The lock on the restart's row makes workers take turns, so that the cap of a server holds for all of them together.
with w as (select id from public.rolling_restarts where ended_at is null and not paused for update),
chosen as (
  select i.rolling_restart_id, i.session_id, s.status,
         row_number() over (partition by i.server_url order by i.session_id) + (
           select count(*) from public.rolling_restart_items b
            where b.rolling_restart_id = i.rolling_restart_id and b.server_url = i.server_url
                and b.state = 'under_way') as place
    from public.rolling_restart_items i join w on w.id = i.rolling_restart_id join public.whatsapp_sessions s
        on s.id = i.session_id
   where i.state = 'waiting')
update public.rolling_restart_items i
   set state = case when c.status = 'conectado' then 'under_way' else 'left_out' end, started_at = clock_timestamp()
  from chosen c where c.rolling_restart_id = i.rolling_restart_id and c.session_id = i.session_id and c.place <= :cap
returning i.rolling_restart_id, i.session_id, i.user_id, i.state
