-- name: claim_due
update public.schedules set next_check_at = :leased where id in (
  select id from public.schedules where next_check_at <= :now order by next_check_at limit 20 for update skip locked)
returning id, next_check_at
