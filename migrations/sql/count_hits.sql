-- Counts `amount` hits of one key in its window; answers the count and when the window ends. The console calls it.
-- Reaching the limit `most` is a security event, once a window, however many processes reach it.
create or replace function app.count_hits(
  wanted bytea, seconds integer, amount integer, most integer, door text, who text
) returns table (counted integer, until timestamptz)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  -- Lost by a crash it is only a count; waiting for the disk it would slow every door.
  perform set_config('synchronous_commit', 'off', true);
  insert into public.rate_limits as r (key, hits, expires_at)
  values (wanted, amount, clock_timestamp() + make_interval(secs => seconds))
  on conflict (key) do update set
    hits = case when r.expires_at <= clock_timestamp() then amount else r.hits + amount end,
    expires_at = case when r.expires_at <= clock_timestamp() then excluded.expires_at else r.expires_at end
  returning hits, expires_at into counted, until;
  if counted > most and counted - amount <= most then
    insert into public.security_events (kind, subject, ip) values ('rate_limited', door, who);
  end if;
  return next;
end $$;
revoke execute on function app.count_hits from public;
