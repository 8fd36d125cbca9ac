-- name: recent_recipient
-- Asked about, or written to, so recently, the browser would answer for it by itself.
select k.phone from public.number_checks k
 where k.session_id = :session_id and k.confirmed_at is not null and k.asked_at < now() - :same
   and not exists (select from public.messages m
     where m.user_id = k.user_id and m.phone = k.phone and m.run_at > now() - :same)
 order by k.confirmed_at desc limit 1
