-- Notes that somebody took back at `said`, by WhatsApp's clock, what they had asked `of_user` for; also where nothing is
-- known of that yet: it may come later, and was said before.
create or replace function app.note_opt_in(of_user uuid, its_phone text, word text, said timestamptz) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  its_key text := app.get_address_key(its_phone);
begin
  insert into public.opt_outs as o (user_id, phone, said_at, ended_at, ended_word)
  values (of_user, its_phone, null, said, word)
  on conflict (user_id, address_key) do update set
    ended_at = excluded.ended_at, ended_word = excluded.ended_word, ended_by = null, ended_reason = null
   where excluded.ended_at >= coalesce(o.undone_until, o.said_at, '-infinity');
  perform app.share_opt_out(a.contact_id) from public.contact_addresses a
    join public.whatsapp_sessions s on s.id = a.session_id and s.user_id = of_user
   where a.address = its_key;
end $$;
revoke execute on function app.note_opt_in from public;
grant execute on function app.note_opt_in to service_role;
