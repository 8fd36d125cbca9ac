-- Refuses to keep a content whose file is being deleted just now (PL003): the new file would go with the old one.
-- It runs after the insert, because the insert itself waits for a claim that is just being made.
create or replace function app.refuse_media_deleting() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  delete from app.media_deleting d
   where d.user_id = new.user_id and d.sha256 = new.sha256 and d.lease_until < clock_timestamp();
  if exists (select from app.media_deleting d where d.user_id = new.user_id and d.sha256 = new.sha256) then
    raise exception 'the file of this content is being deleted' using errcode = 'PL003';
  end if;
  return null;
end $$;
revoke execute on function app.refuse_media_deleting from public;
create or replace trigger refuse_media_deleting after insert on public.media
  for each row execute function app.refuse_media_deleting();
