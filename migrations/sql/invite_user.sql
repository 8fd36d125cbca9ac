-- Makes a user without a password, and the link by which they set one.
create or replace function app.invite_user(
  wanted text, known_as text, as_role text, token_hash bytea, until timestamptz
) returns uuid
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare made uuid := gen_random_uuid();
begin
  perform app.require_manager();
  if exists (select from auth.users u where lower(u.email::text) = lower(wanted) and u.deleted_at is null) then
    raise exception 'taken' using errcode = 'unique_violation';
  end if;
  insert into auth.users (id, email, encrypted_password, raw_app_meta_data, raw_user_meta_data) values (
    made, lower(wanted), '', jsonb_build_object('provider', 'email', 'providers', array['email'], 'role', as_role),
    '{}');
  insert into public.accounts (user_id, name) values (made, nullif(known_as, ''));
  perform app.create_one_time_link(made, 'invite', token_hash, until);
  return made;
end $$;
revoke execute on function app.invite_user from public;
grant execute on function app.invite_user to authenticated;
