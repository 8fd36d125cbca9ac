-- Notes that somebody asked `of_user` for silence at `said`, by WhatsApp's clock; true where that is in effect now and
-- was not before. The newest word counts, whatever comes first.
create or replace function app.note_opt_out(of_user uuid, its_phone text, word text, said timestamptz) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  its_key text := app.get_address_key(its_phone);
  known public.opt_outs;
  begun boolean;
begin
  insert into public.opt_outs (user_id, phone, trigger_word, said_at) values (of_user, its_phone, word, said)
  on conflict (user_id, address_key) do nothing;
  begun := found;
  if not begun then
    select o.* into known from public.opt_outs o where o.user_id = of_user and o.address_key = its_key for no key update;
    -- Two words of the same second: the later to come is the later. A person undid the word that they knew of.
    begun := coalesce(said > known.undone_until or said = known.undone_until and known.ended_by is null, false);
    update public.opt_outs o set
        trigger_word = word, said_at = said, copied = o.copied and o.said_at is not null,
        ended_at = case when not begun then o.ended_at end, ended_word = case when not begun then o.ended_word end,
        ended_by = case when not begun then o.ended_by end, ended_reason = case when not begun then o.ended_reason end
     where o.user_id = of_user and o.address_key = its_key and (begun or o.said_at is null or said >= o.said_at);
  end if;
  perform app.share_opt_out(a.contact_id) from public.contact_addresses a
    join public.whatsapp_sessions s on s.id = a.session_id and s.user_id = of_user
   where a.address = its_key;
  return begun;
end $$;
revoke execute on function app.note_opt_out from public;
grant execute on function app.note_opt_out to service_role;
