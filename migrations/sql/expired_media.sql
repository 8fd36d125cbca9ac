-- Files that no message, no version of a template and no schedule carries.
create or replace view app.expired_media as
  select f.user_id, f.sha256, f.created_at as since from public.media f
   where not exists (select from public.messages m where m.user_id = f.user_id and m.media_sha256 = f.sha256)
     and not exists (select from public.template_versions t where t.user_id = f.user_id and t.media_sha256 = f.sha256)
     and not exists (select from public.schedules s where s.user_id = f.user_id and s.media_sha256 = f.sha256);
