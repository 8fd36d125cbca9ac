-- The valid API key with this hash, and its user. When it was last used is worth a write a minute, not one for each
-- request.
create or replace function app.get_api_key(hash bytea)
returns table (key_id uuid, user_id uuid, email text, scopes text[])
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  update public.api_keys k set last_used_at = now()
   where k.secret_hash = hash and k.revoked_at is null and coalesce(k.expires_at > now(), true)
     and coalesce(k.last_used_at < now() - interval '1 minute', true);
  return query
    select k.id, k.user_id, u.email, k.scopes
      from public.api_keys k cross join lateral app.get_sign_in(k.user_id) u
     where k.secret_hash = hash and k.revoked_at is null and coalesce(k.expires_at > now(), true) and u.active;
end $$;
revoke execute on function app.get_api_key from public;
