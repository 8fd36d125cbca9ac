-- Raises if no admin who can sign in would be left without this one (PL002).
create or replace function app.require_other_admin(leaving uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (
    select from auth.users u left join public.accounts a on a.user_id = u.id
     where u.id <> leaving and app.parse_role(u.raw_app_meta_data) = 'admin' and u.deleted_at is null
       and coalesce(u.banned_until <= now(), true) and coalesce(a.active, true)
       and coalesce(u.encrypted_password, '') <> '') then
    raise exception 'the last admin' using errcode = 'PL002';
  end if;
end $$;
revoke execute on function app.require_other_admin from public;
