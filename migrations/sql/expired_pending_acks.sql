-- Acknowledgements that found no message yet, named by their place: the table's key is two columns.
create or replace view app.expired_pending_acks as
  select ctid as place, received_at as since from public.pending_acks;
