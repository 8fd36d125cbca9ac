"""A file that nothing carries goes in two steps, so that no transaction waits for the store that deletes it."""

from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None

# The first step takes the row away, and with it whatever could come to carry the file; the second forgets the claim.
# Between them the file is deleted, by whoever holds the lease.
DELETING = """
create table app.media_deleting (
  user_id uuid not null,
  sha256 bytea not null,
  lease_until timestamptz not null,
  primary key (user_id, sha256)
);
comment on table app.media_deleting is 'contents whose rows are gone and whose files are being deleted';
drop function app.clean_media(interval, integer);
create function app.claim_media(keep interval, most integer, lease interval)
  returns table (user_id uuid, sha256 bytea, lease_until timestamptz, fresh boolean)
language sql volatile security definer set search_path = pg_catalog, pg_temp as $f$
  with abandoned as (
    update app.media_deleting d set lease_until = clock_timestamp() + lease
     where (d.user_id, d.sha256) in (select o.user_id, o.sha256 from app.media_deleting o
       where o.lease_until < clock_timestamp() limit most for update skip locked)
    returning d.user_id, d.sha256, d.lease_until
  ), old as (
    delete from public.media f using (
        select r.user_id, r.sha256 from app.rubbish_media r where r.since < now() - keep order by r.since limit most) r
     where f.user_id = r.user_id and f.sha256 = r.sha256 and f.created_at < now() - keep
    returning f.user_id, f.sha256
  ), claimed as (
    insert into app.media_deleting as d select o.user_id, o.sha256, clock_timestamp() + lease from old o
    on conflict (user_id, sha256) do update set lease_until = excluded.lease_until
    returning d.user_id, d.sha256, d.lease_until
  )
  select a.*, false from abandoned a union all select c.*, true from claimed c
$f$;
create function app.forget_media(owner uuid, content bytea, lease timestamptz) returns void
language sql volatile security definer set search_path = pg_catalog, pg_temp as $f$
  delete from app.media_deleting d where d.user_id = owner and d.sha256 = content and d.lease_until = lease
$f$;
revoke execute on function app.claim_media, app.forget_media from public;
grant execute on function app.claim_media, app.forget_media to service_role;
"""

# After the row, whose insertion has waited for a claim that is just being made.
KEPT = """
create function app.refuse_media_deleting() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $f$
begin
  delete from app.media_deleting d
   where d.user_id = new.user_id and d.sha256 = new.sha256 and d.lease_until < clock_timestamp();
  if exists (select from app.media_deleting d where d.user_id = new.user_id and d.sha256 = new.sha256) then
    raise exception 'the file of this content is being deleted' using errcode = 'PL003';
  end if;
  return null;
end $f$;
revoke execute on function app.refuse_media_deleting from public;
create trigger refuse_media_deleting after insert on public.media for each row
  execute function app.refuse_media_deleting();
"""


def upgrade() -> None:
    for part in (DELETING, KEPT):
        op.get_bind().connection.driver_connection.execute(part)
