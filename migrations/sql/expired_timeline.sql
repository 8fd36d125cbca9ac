-- Entries of the sessions' timelines.
create or replace view app.expired_timeline as
  select id, occurred_at as since from public.session_timeline;
