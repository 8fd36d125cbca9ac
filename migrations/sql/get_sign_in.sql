-- The user of a sign-in, and whether they may still come in: the console asks when somebody comes with a token.
create or replace function app.get_sign_in(wanted uuid, sign_in uuid default null)
returns table (email text, role text, active boolean, token_version integer, name text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select u.email::text, app.parse_role(u.raw_app_meta_data),
         u.deleted_at is null and coalesce(u.banned_until <= now(), true) and coalesce(c.active, true)
           and not exists (select from public.signed_out o where o.sign_in_id = sign_in),
         coalesce(c.token_version, 1), coalesce(nullif(c.name, ''), u.email::text)
    from auth.users u left join public.accounts c on c.user_id = u.id
   where u.id = wanted
$$;
revoke execute on function app.get_sign_in from public;
