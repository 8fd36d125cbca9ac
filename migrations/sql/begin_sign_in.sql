-- Records a sign-in attempt and answers what is needed to check the password; nothing of the user while locked.
-- The attempt counts as a failure BEFORE its password is checked, one at a time for each name: of a hundred guesses at
-- once, five are checked. A refused attempt is not counted, or somebody could keep a name locked for ever.
create or replace function app.begin_sign_in(wanted text, from_ip text)
returns table (attempt bigint, user_id uuid, email text, password_hash text, role text, active boolean,
               token_version integer, name text, failures_recent integer, locked_until timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  wanted_key bytea := app.email_key(wanted);
begin
  perform pg_advisory_xact_lock(hashtext('sign-in'), hashtext(wanted_key::text));
  delete from public.sign_in_attempts old where old.id in (
    select a.id from public.sign_in_attempts a where a.occurred_at < clock_timestamp() - interval '1 day' limit 100
       for update skip locked);
  select l.failures, l.until into failures_recent, locked_until from app.locked_until(wanted_key, from_ip) l;
  if locked_until is null then
    insert into public.sign_in_attempts as a (key, ip) values (wanted_key, from_ip) returning a.id into attempt;
    select u.id, u.email::text, nullif(u.encrypted_password, ''), app.parse_role(u.raw_app_meta_data),
           u.deleted_at is null and coalesce(u.banned_until <= now(), true) and coalesce(c.active, true),
           coalesce(c.token_version, 1), coalesce(nullif(c.name, ''), u.email::text)
      into user_id, email, password_hash, role, active, token_version, name
      from auth.users u left join public.accounts c on c.user_id = u.id
     where lower(u.email::text) = lower(wanted)
     order by u.deleted_at nulls first, u.encrypted_password is null, u.created_at limit 1;
  end if;
  return next;
end $$;
revoke execute on function app.begin_sign_in from public;
