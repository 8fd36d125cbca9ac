-- Heartbeats of processes, named by their place: the table's key is two columns.
create or replace view app.expired_heartbeats as
  select ctid as place, beat_at as since from public.heartbeats;
