-- For whom a link is, and for what; no row once it is used or expired.
create or replace function app.get_one_time_link(token_hash bytea) returns table (email text, purpose text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select u.email::text, l.purpose
    from public.one_time_links l join auth.users u on u.id = l.user_id
    left join public.accounts a on a.user_id = u.id
   where l.token_hash = get_one_time_link.token_hash and l.expires_at > now() and u.deleted_at is null
     and coalesce(a.active, true)
$$;
revoke execute on function app.get_one_time_link from public;
