-- How many numbers the present number of a session has asked WhatsApp about within the last hour, by whichever session.
-- Only a figure leaves: whose the questions are, nobody learns here.
create or replace function app.count_number_questions(of_session uuid) returns bigint
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  with asking as (
    select s.id, app.get_line_of_user(s.user_id) as key from public.whatsapp_sessions s
     where s.id = of_session
       and (s.user_id = auth.uid() or app.is_staff() or current_setting('role') = 'service_role')
  ), times as (
    select n.session_id, n.since, n.until from public.session_numbers n, asking
     where app.get_address_key(n.phone) = asking.key
     union all
    select asking.id, null, null from asking where asking.key is null
  )
  select count(*) from times t join public.number_checks c on c.session_id = t.session_id
   where c.asked_at > now() - interval '1 hour'
     and c.asked_at >= coalesce(t.since, '-infinity') and c.asked_at < coalesce(t.until, 'infinity')
$$;
revoke execute on function app.count_number_questions from public;
grant execute on function app.count_number_questions to authenticated, service_role;
