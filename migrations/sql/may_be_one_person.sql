-- Whether nothing that is known of two contacts keeps them from being one person: one is known by a phone only, the
-- other by a @lid only.
create or replace function app.may_be_one_person(first uuid, second uuid) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from public.contacts a join public.contacts b on b.id = second
     where a.id = first and a.id <> b.id and a.session_id = b.session_id
       and a.address ~ '@(c\.us|lid)$' and b.address ~ '@(c\.us|lid)$'
       and (a.phone is null and b.lid is null or a.lid is null and b.phone is null))
$$;
revoke execute on function app.may_be_one_person from public;
grant execute on function app.may_be_one_person to service_role;
