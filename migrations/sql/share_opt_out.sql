-- What a contact wanted last, under whichever address, holds for every address that the contact has.
create or replace function app.share_opt_out(of_contact uuid) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  with addresses as (
    select a.user_id, a.address, k.phone
      from public.contact_addresses a join public.contacts k on k.id = a.contact_id
     where a.contact_id = of_contact and a.address ~ '@(c\.us|lid)$'
  ), known as (
    select o.* from addresses a join public.opt_outs o on o.user_id = a.user_id and o.address_key = a.address
  ), asked as (
    select k.trigger_word, k.said_at from known k where k.said_at is not null order by k.said_at desc limit 1
  ), undone as (
    select k.ended_at, k.ended_word, k.ended_by, k.ended_reason, k.undone_until
      from known k where k.ended_at is not null order by k.undone_until desc limit 1
  )
  insert into public.opt_outs as o
    (user_id, phone, trigger_word, said_at, ended_at, ended_word, ended_by, ended_reason, copied)
  select a.user_id,
         case when a.address like '%@lid' then a.address
           when a.address = app.get_address_key(a.phone) then a.phone
           else split_part(a.address, '@', 1) end,
         s.trigger_word, s.said_at, u.ended_at, u.ended_word, u.ended_by, u.ended_reason, true
    from addresses a
    left join asked s on true
    left join undone u on s.said_at is null or u.undone_until >= s.said_at
   where exists (select from known)
   order by a.address
  on conflict (user_id, address_key) do update set
    trigger_word = excluded.trigger_word, said_at = excluded.said_at, ended_at = excluded.ended_at,
    ended_word = excluded.ended_word, ended_by = excluded.ended_by, ended_reason = excluded.ended_reason,
    copied = o.copied or o.said_at is null
   where (o.said_at, o.ended_at, o.ended_by) is distinct from (excluded.said_at, excluded.ended_at, excluded.ended_by)
$$;
revoke execute on function app.share_opt_out from public;
