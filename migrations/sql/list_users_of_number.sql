-- Whose sessions are the same number as this one now, their owner's among them: what is said to the number counts for
-- each of them. For the system only, because none of them may learn of another.
create or replace function app.list_users_of_number(of_session uuid) returns setof uuid
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select s.user_id from public.whatsapp_sessions s where s.id = of_session
  union
  select o.user_id from public.whatsapp_sessions s join public.whatsapp_sessions o
      on app.get_address_key(o.phone_number) = app.get_address_key(s.phone_number)
   where s.id = of_session and o.status = 'conectado'
$$;
revoke execute on function app.list_users_of_number from public;
grant execute on function app.list_users_of_number to service_role;
