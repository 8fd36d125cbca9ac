-- What was noted of a message under one of its names is noted under another from now on; the newest of a person counts.
create or replace function app.move_annotations(of_session uuid, old_name text, new_name text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if old_name = new_name then
    return;
  end if;
  with moved as (
    delete from public.message_annotations a where a.session_id = of_session and a.wpp_id = old_name returning *
  )
  insert into public.message_annotations as a (session_id, wpp_id, kind, author, user_id, value, occurred_at)
  select m.session_id, new_name, m.kind, m.author, m.user_id, m.value, m.occurred_at from moved m
  on conflict (session_id, wpp_id, kind, author) do update
     set occurred_at = excluded.occurred_at, value = excluded.value
   where case when excluded.kind = 'receipt' then (excluded.value->>'ack')::integer > (a.value->>'ack')::integer
     else (excluded.occurred_at, excluded.value) > (a.occurred_at, a.value) end;
end $$;
revoke execute on function app.move_annotations from public;
grant execute on function app.move_annotations to service_role;
