-- Stores a batch of webhook deliveries and returns how many are new. The receiver's one statement: one round trip, one
-- transaction, and nothing else within its reach. Arrays, one a column: a third cheaper than JSON.
create or replace function app.store_events(
  sessions text[], current_secrets boolean[], kinds text[], keys uuid[], verdicts text[], requests uuid[], bodies text[]
) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare fresh integer;
begin
  -- Waits for the commit of a twin that is stored at the same time, so of two exactly one is the first.
  insert into public.events (session, current_secret, kind, dedupe_key, verdict, request_id, body)
  select * from unnest(sessions, current_secrets, kinds, keys, verdicts, requests, bodies)
  on conflict (dedupe_key) where verdict <> 'duplicate' do nothing;
  get diagnostics fresh = row_count;
  if fresh < cardinality(bodies) then
    -- What was left out because another row holds its key is kept, too, as a duplicate.
    insert into public.events (session, current_secret, kind, dedupe_key, verdict, handled_at, request_id, body)
    select s, c, k, d, 'duplicate', now(), r, b
      from unnest(sessions, current_secrets, kinds, keys, verdicts, requests, bodies) as x (s, c, k, d, v, r, b)
     where exists (select from public.events e
                    where e.dedupe_key = x.d and e.verdict <> 'duplicate' and e.request_id <> x.r);
  end if;
  perform pg_notify('inbox', '');
  return fresh;
end $$;
revoke execute on function app.store_events from public;
