-- Clean-ups that ended.
create or replace view app.expired_runs as
  select id, finished_at as since from public.cleanup_runs where finished_at is not null;
