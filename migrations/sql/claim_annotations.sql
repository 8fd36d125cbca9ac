-- A message that is known now takes what was noted of it before, under another of its names.
create or replace function app.claim_annotations(of_message uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  message public.messages;
begin
  select * into message from public.messages m where m.id = of_message;
  perform app.move_annotations(message.session_id, n.name, message.wpp_id) from (
    select distinct a.wpp_id as name from public.message_annotations a
     where a.session_id = message.session_id and a.wpp_id <> message.wpp_id
       and app.get_message_key(a.wpp_id) = app.get_message_key(message.wpp_id)) n
   where app.find_message(message.session_id, n.name) = of_message;
end $$;
revoke execute on function app.claim_annotations from public;
grant execute on function app.claim_annotations to service_role;
