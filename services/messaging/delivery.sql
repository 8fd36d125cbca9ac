-- name: settle
-- An id that another row has, or whose ack is here already, takes the long way (`adopt_wpp_id`).
    with ended as (
      select * from jsonb_to_recordset(cast(:ended as jsonb)) as e (id uuid, session_id uuid, attempt int, state text,
        failure text, wpp_id text, address text, ack int, waiting text, later double precision)
    )
    update messages m set
        state = e.state,
        failure = e.failure,
        address = coalesce(e.address, m.address),
        run_at = case when e.later is null then m.run_at else clock_timestamp() + make_interval(secs => e.later) end,
        waiting_reason = case when e.later is not null then e.waiting end,
        waiting_since = case when e.waiting is null then m.waiting_since else coalesce(m.waiting_since,
          (select greatest(m.run_at, l.waiting_since) from lanes l
            where l.session_id = m.session_id and l.waiting_since is not null), clock_timestamp()) end,
        accepted_at = case when e.state = 'accepted' then now() end,
        ended_at = case when e.state = 'failed' then now() end,
        reconcile_at = case when e.state = 'uncertain' then now() + :soon end,
        uncertain_at = case when e.state = 'uncertain' then now() else m.uncertain_at end,
        wpp_id = case when e.ack = 0
          and not exists (select from messages t where t.session_id = e.session_id and t.wpp_id is not null
            and app.get_message_key(t.wpp_id) = app.get_message_key(e.wpp_id))
          and not exists (select from pending_acks p where p.session_id = e.session_id
            and app.get_message_key(p.wpp_id) = app.get_message_key(e.wpp_id))
          then e.wpp_id else m.wpp_id end,
        updated_at = now()
      from ended e
     where m.id = e.id and m.attempts = e.attempt
       and (m.state in ('queued', 'sending') or (m.state = 'uncertain' and m.decided_at is null
         and e.state in ('accepted', 'failed')))
    returning m.id, m.wpp_id is not distinct from e.wpp_id as adopted
    

-- name: claim
-- Its head is the first waiting message; a lane without one only gets its `due_at` put right. What is still `sending` on
-- a lane whose lease has ended is a dead worker's: whether it left is unknown. What waited for too long is nobody's head
-- any more, also before its owner is asked (`overdue.ask_owners`).
-- Where to: an address as it is; the @lid of a contact whose number is another one by now, because the old number may be
-- a stranger's; what WhatsApp said of the number; the address that the contact wrote from this month. Else it is asked.
    with lane as materialized (
      select session_id, waiting_since from lanes where session_id = any(:ids)
    ), head as materialized (
      select lane.session_id, m.id, m.phone,
             case when m.phone like '%@%' then m.phone
                  when c.lid is not null and c.phone is distinct from m.phone then c.lid
                  when n.on_whatsapp then n.address
                  when exists (select from messages heard where heard.contact_id = c.id and heard.direction = 'in'
                    and heard.occurred_at > now() - interval '30 days') then c.address
             end as address, n.on_whatsapp
        from lane cross join lateral (
          select id, phone, contact_id from messages
           where session_id = lane.session_id and state = 'queued' and asked_at is null and run_at <= clock_timestamp()
             and coalesce(waiting_since, 'infinity') > now() - :patience
             and (lane.waiting_since is null or greatest(run_at, lane.waiting_since) > now() - :patience)
           order by run_at, seq limit 1) m
        left join number_checks n
          on n.session_id = lane.session_id and n.phone = m.phone and n.fresh_until > now()
        left join contacts c on c.id = m.contact_id
    ), abandoned as (
      update messages set state = 'uncertain', failure = 'unknown', reconcile_at = now() + :soon, uncertain_at = now(),
          updated_at = now()
        from lane where messages.session_id = lane.session_id and messages.state = 'sending'
      returning messages.user_id
    ), taken as (
      -- Looked at once more: its owner may be taking it back, and then it is waited for.
      update messages set attempts = attempts + 1, claimed_at = clock_timestamp(), updated_at = now(),
          state = case when head.address is null then state else 'sending' end,
          sending_at = case when head.address is null then sending_at else clock_timestamp() end,
          address = coalesce(head.address, messages.address)
        from head where messages.id = head.id and messages.state = 'queued' and messages.asked_at is null
      returning messages.*
    ), leased as (
      update lanes set
          available_at = case when taken.id is null then lanes.available_at else clock_timestamp() + :lease end,
          due_at = case when head.id is null then (
            select min(run_at) from messages
             where session_id = lanes.session_id and state = 'queued' and asked_at is null
               and coalesce(waiting_since, 'infinity') > now() - :patience
               and (lane.waiting_since is null or greatest(run_at, lane.waiting_since) > now() - :patience))
            else lanes.due_at end
        from lane left join head using (session_id) left join taken on taken.session_id = lane.session_id
       where lanes.session_id = lane.session_id
      returning lanes.session_id, lanes.available_at, head.address, head.on_whatsapp
    )
    select leased.session_id, case when taken.id is not null then leased.available_at end as leased_until,
           leased.address, leased.address is not null as sending,
           leased.on_whatsapp, taken.id, taken.user_id, taken.phone, taken.attempts as attempt, taken.kind, taken.body,
           taken.media_sha256, taken.mimetype, taken.filename, taken.detail, taken.quoted_wpp_id, taken.request_id,
           s.session_id as session_name, coalesce(s.server_url, '') as server_url,
           (select array_agg(distinct user_id) from abandoned) as abandoned
      from leased left join taken on taken.session_id = leased.session_id
      join whatsapp_sessions s on s.id = leased.session_id
    
