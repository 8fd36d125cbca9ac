-- Undoes the opt-out of somebody (digits, or a @lid) who asked `of_user` for silence; false where none is in effect. For
-- that user, and for an admin who broke the glass of their chats.
create or replace function app.end_opt_out(of_user uuid, its_phone text, reason text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  its_key text := app.get_address_key(its_phone);
  ended boolean;
begin
  if auth.uid() is null or coalesce(btrim(reason), '') = ''
      or (auth.uid() <> of_user and not (app.is_admin() and app.has_break_glass(of_user, 'chats'))) then
    raise insufficient_privilege using message = 'an opt-out is undone by its owner, for a reason';
  end if;
  update public.opt_outs o set
      ended_at = now(), ended_word = null, ended_by = auth.uid(), ended_reason = reason
   where o.user_id = of_user and o.address_key = its_key and o.ended_at is null;
  ended := found;
  perform app.share_opt_out(a.contact_id) from public.contact_addresses a
    join public.whatsapp_sessions s on s.id = a.session_id and s.user_id = of_user
   where a.address = its_key;
  return ended;
end $$;
revoke execute on function app.end_opt_out from public;
grant execute on function app.end_opt_out to authenticated;
