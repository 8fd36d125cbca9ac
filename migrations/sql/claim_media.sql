-- Claims contents whose files the worker shall delete: those that nobody finished (`fresh` is false), and new ones. It
-- takes their rows away first: nothing can come to carry the file any more, and no transaction waits for the store.
create or replace function app.claim_media(keep interval, most integer, lease interval)
returns table (user_id uuid, sha256 bytea, lease_until timestamptz, fresh boolean)
language sql security definer set search_path = pg_catalog, pg_temp as $$
  with abandoned as (
    update app.media_deleting d set lease_until = clock_timestamp() + lease
     where (d.user_id, d.sha256) in (select o.user_id, o.sha256 from app.media_deleting o
       where o.lease_until < clock_timestamp() limit most for update skip locked)
    returning d.user_id, d.sha256, d.lease_until
  ), old as (
    delete from public.media f using (
        select r.user_id, r.sha256 from app.expired_media r where r.since < now() - keep order by r.since limit most) r
     where f.user_id = r.user_id and f.sha256 = r.sha256 and f.created_at < now() - keep
    returning f.user_id, f.sha256
  ), claimed as (
    insert into app.media_deleting as d select o.user_id, o.sha256, clock_timestamp() + lease from old o
    on conflict (user_id, sha256) do update set lease_until = excluded.lease_until
    returning d.user_id, d.sha256, d.lease_until
  )
  select a.*, false from abandoned a union all select c.*, true from claimed c
$$;
revoke execute on function app.claim_media from public;
grant execute on function app.claim_media to service_role;
