-- name: fresh_rows
select process, instance, samples from public.process_metrics
 where sampled_at > clock_timestamp() - make_interval(secs => :fresh) order by process, instance

-- name: figures
-- Each with its index; what could be many is counted to a limit.
select jsonb_build_object(
  'sessions', (select jsonb_object_agg(status, n) from (
     select status, count(*) as n from public.whatsapp_sessions group by 1) s),
  'incidents', (select jsonb_object_agg(kind, n) from (
     select kind, count(*) as n from public.incidents where ended_at is null group by 1) f),
  'queue_depth', (select count(*) from (
     select from public.messages
      where state = 'queued' and asked_at is null and run_at <= clock_timestamp() limit :limit) q),
  'queue_age', (select greatest(extract(epoch from clock_timestamp() - min(due_at)), 0) from public.lanes
     where ready_at is not null),
  'messages', jsonb_build_object(
     'sending', (select count(*) from (select from public.messages where state = 'sending' limit :limit) m),
     'uncertain', (select count(*) from (select from public.messages where state = 'uncertain' limit :limit) m)),
  'inbox_depth', (select count(*) from (select from public.events where verdict = 'received' limit :limit) e),
  'inbox_lag', (select extract(epoch from clock_timestamp() - received_at) from public.events
     where verdict = 'received' order by id limit 1),
  'events_failed', (select count(*) from (select from public.events where verdict = 'failed' limit :limit) e),
  'report_lag', (select extract(epoch from clock_timestamp() - created_at) from public.report_dirty_buckets
      order by id limit 1),
  'processes', (select jsonb_object_agg(process, n) from (
     select process, count(*) as n from public.process_metrics
      where sampled_at > clock_timestamp() - interval '20 seconds' group by 1) p),
  'servers', (select jsonb_object_agg(number, case when healthy then 1 else 0 end) from public.wpp_servers
     where healthy is not null),
  'latencies', (select jsonb_object_agg(number, latency_ms / 1000.0) from public.wpp_servers
     where latency_ms is not null))
