-- Keeps the newest metrics of one process, and drops those of processes that stopped a day ago.
-- The console's login may become nobody who can write to the table: its metrics pass through here, and nothing else.
create or replace function app.record_metrics(process text, instance text, samples jsonb) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  delete from public.process_metrics where sampled_at < clock_timestamp() - interval '1 day';
  insert into public.process_metrics (process, instance, samples)
    select left($1, 40), left($2, 200), $3 where pg_column_size($3) < 262144
    on conflict (process, instance) do update set sampled_at = clock_timestamp(), samples = excluded.samples
$$;
revoke execute on function app.record_metrics from public;
grant execute on function app.record_metrics to service_role;
