-- Makes one contact of two that are one person: `kept` takes over all that `gone` had. Two rows of one message become
-- one: the one that was sent from here, else the one that can be read, else the older one.
create or replace function app.join_contacts(kept uuid, gone uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  other public.contacts;
  twin record;
  doubled integer := 0;
begin
  perform from public.contacts k where k.id in (kept, gone) order by k.id for no key update;
  select * into other from public.contacts k where k.id = gone;
  if not found then
    return;
  end if;
  for twin in
    select a.id as first, b.id as second,
           (b.idempotency_key is not null, b.kind <> 'ciphertext', b.ack, b.seq < a.seq)
             > (a.idempotency_key is not null, a.kind <> 'ciphertext', a.ack, a.seq < b.seq) as second_stays,
           a.direction = 'in' as inbound
      from public.messages a join public.messages b
        on b.contact_id = gone and app.get_message_key(b.wpp_id) = app.get_message_key(a.wpp_id)
     where a.contact_id = kept and a.wpp_id is not null and b.wpp_id is not null
  loop
    if twin.second_stays then
      perform app.fold_message(twin.first, twin.second);
    else
      perform app.fold_message(twin.second, twin.first);
    end if;
    doubled := doubled + twin.inbound::integer;
  end loop;
  delete from public.automation_uses u where u.contact_id = gone and exists (
    select from public.automation_uses k where k.contact_id = kept and k.automation_id = u.automation_id
       and k.day = u.day and k.action = u.action);
  update public.automation_uses set contact_id = kept where contact_id = gone;
  update public.contact_addresses set contact_id = kept where contact_id = gone;
  update public.messages set contact_id = kept where contact_id = gone;
  delete from public.contacts where id = gone;
  update public.contacts k set
    phone = coalesce(k.phone, other.phone), lid = coalesce(k.lid, other.lid),
    name = coalesce(case when k.name_typed then k.name end, case when other.name_typed then other.name end,
      k.name, other.name),
    name_typed = k.name_typed or other.name_typed, pushname = coalesce(k.pushname, other.pushname),
    blocked_at = coalesce(k.blocked_at, other.blocked_at),
    notes = concat_ws(e'\n', nullif(k.notes, ''), nullif(other.notes, '')),
    labels = array(select distinct x from unnest(k.labels || other.labels) x order by 1),
    unread = greatest(k.unread + other.unread - doubled, 0),
    last_message_at = greatest(k.last_message_at, other.last_message_at),
    read_until = greatest(k.read_until, other.read_until), updated_at = now()
   where k.id = kept;
  perform app.recount_unread(kept) from public.contacts k where k.id = kept and k.read_until is not null;
  -- The phone is known now: what was said counts as said by it.
  update public.messages m set phone = k.phone
    from public.contacts k where k.id = kept and m.contact_id = kept and m.phone like '%@lid' and k.phone is not null;
end $$;
revoke execute on function app.join_contacts from public;
grant execute on function app.join_contacts to service_role;
