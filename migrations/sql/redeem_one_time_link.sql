-- Sets the password of the link's user, uses the link up and makes older tokens worthless; null for a bad link.
create or replace function app.redeem_one_time_link(token_hash bytea, password_hash text) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  whose uuid;
begin
  if not exists (select from app.get_one_time_link(token_hash)) then
    return null;
  end if;
  delete from public.one_time_links l where l.token_hash = redeem_one_time_link.token_hash
    returning l.user_id into whose;
  if whose is null then
    return null;
  end if;
  update auth.users u set encrypted_password = password_hash, updated_at = now() where u.id = whose;
  insert into public.accounts as a (user_id, token_version) values (whose, 2)
    on conflict (user_id) do update set token_version = a.token_version + 1, updated_at = now();
  insert into public.security_events (kind, subject) values ('password_set', whose::text);
  return whose;
end $$;
revoke execute on function app.redeem_one_time_link from public;
