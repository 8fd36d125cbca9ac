-- Two rows of one message become one: `kept` takes over what only `gone` knew.
create or replace function app.fold_message(gone uuid, kept uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  other public.messages;
begin
  delete from public.messages m where m.id = gone returning * into other;
  update public.messages m set
    state = case when other.direction = 'out' and other.ack > m.ack then other.state else m.state end,
    failure = case when other.direction = 'out' and other.ack > m.ack then null else m.failure end,
    ack = greatest(m.ack, other.ack), accepted_at = coalesce(m.accepted_at, other.accepted_at),
    sent_at = coalesce(m.sent_at, other.sent_at), delivered_at = coalesce(m.delivered_at, other.delivered_at),
    read_at = coalesce(m.read_at, other.read_at), media_sha256 = coalesce(m.media_sha256, other.media_sha256),
    mimetype = coalesce(m.mimetype, other.mimetype), filename = coalesce(m.filename, other.filename),
    quoted_wpp_id = coalesce(m.quoted_wpp_id, other.quoted_wpp_id),
    fetch_at = case when coalesce(m.media_sha256, other.media_sha256) is null then m.fetch_at end, updated_at = now()
   where m.id = kept;
  update public.automation_uses set message_id = kept where message_id = gone;
  perform app.move_annotations(m.session_id, other.wpp_id, m.wpp_id) from public.messages m where m.id = kept;
end $$;
revoke execute on function app.fold_message from public;
