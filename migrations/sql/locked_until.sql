-- Recent failures of a name, and until when the name or the address is locked; null if neither is.
-- Five failures within 15 minutes lock a name, known or not, until 15 minutes after the last one; 30 lock an address.
-- A private address is not locked: it may well be a proxy's, and then everybody's.
create or replace function app.locked_until(wanted bytea, from_ip text)
returns table (failures integer, until timestamptz)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with streak as (
    select a.occurred_at, row_number() over (order by a.occurred_at desc, a.id desc) as n
      from public.sign_in_attempts a
     where a.key = wanted and not a.succeeded and a.occurred_at > clock_timestamp() - interval '30 minutes'
       and not exists (select from public.sign_in_attempts s where s.key = wanted and s.succeeded and s.id >= a.id)
  ), by_ip as (
    select a.occurred_at, row_number() over (order by a.occurred_at desc) as n
      from public.sign_in_attempts a
     where a.ip = from_ip and not a.succeeded and a.occurred_at > clock_timestamp() - interval '15 minutes'
       and from_ip !~ '^(10\.|127\.|192\.168\.|172\.(1[6-9]|2[0-9]|3[01])\.|::1$|f[cd]|fe80)'
     order by a.occurred_at desc limit 30
  )
  select (select count(*)::integer from streak where occurred_at > clock_timestamp() - interval '15 minutes'),
         greatest(
           (select latest.occurred_at + interval '15 minutes' from streak latest join streak fifth on fifth.n = 5
             where latest.n = 1 and latest.occurred_at - fifth.occurred_at <= interval '15 minutes'
               and latest.occurred_at + interval '15 minutes' > clock_timestamp()),
           (select occurred_at + interval '15 minutes' from by_ip where n = 30))
$$;
revoke execute on function app.locked_until from public;
