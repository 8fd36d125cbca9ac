-- name: reserve_questions
-- The budget's window moves with the clock. One process counts at a time, so that two cannot spend the same question.
    insert into public.number_checks (session_id, user_id, phone, asked_at)
    select s.id, s.user_id, asked.phone, now()
      from public.whatsapp_sessions s, unnest(cast(:phones as text[])) with ordinality as asked (phone, place)
     where s.id = :session_id
     order by asked.place
     limit greatest(0, :budget - app.count_number_questions(:session_id))
    on conflict (session_id, phone) do update set asked_at = excluded.asked_at
    returning phone
    

-- name: confirm_by_ack
-- At most once a day for each number: acknowledgements are many.
    update public.number_checks n
       set on_whatsapp = true, address = m.address, confirmed_at = now(), fresh_until = now() + :known_for
      from public.messages m
     where m.id = :message_id and m.address like '%@c.us'
       and n.session_id = m.session_id and n.phone = m.phone
       and (n.confirmed_at is null or n.confirmed_at < now() - interval '1 day')
    
