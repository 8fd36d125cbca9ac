-- Forgets the claim on a file once the worker has deleted the file. Only the holder of the lease can: after another
-- process took the claim over, `lease` no longer matches.
create or replace function app.delete_media(owner uuid, content bytea, lease timestamptz) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  delete from app.media_deleting d where d.user_id = owner and d.sha256 = content and d.lease_until = lease
$$;
revoke execute on function app.delete_media from public;
grant execute on function app.delete_media to service_role;
