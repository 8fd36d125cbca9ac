-- The present number of a user's session, as app.get_address_key writes it; null where there is none, or where the caller
-- is neither that user nor staff nor the system.
create or replace function app.get_line_of_user(of_user uuid) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select app.get_address_key(s.phone_number) from public.whatsapp_sessions s
   where s.user_id = of_user
     and (s.user_id = auth.uid() or app.is_staff() or current_setting('role') = 'service_role')
$$;
revoke execute on function app.get_line_of_user from public;
grant execute on function app.get_line_of_user to authenticated, service_role;
