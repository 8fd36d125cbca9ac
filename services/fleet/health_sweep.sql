-- name: insert_sample
insert into public.fleet_samples (sampled_at, figures)
select date_bin(make_interval(mins => :minutes), now(), 'epoch'), jsonb_build_object(
         'conectado', count(*) filter (where status = 'conectado'),
         'pareando', count(*) filter (where status = 'pareando'),
         'desconectado', count(*) filter (where status = 'desconectado'),
         'unproven', count(*) filter (where status = 'conectado' and coalesce(
             last_proof_at < clock_timestamp() - make_interval(secs => :proof), true)),
         'silent', (select count(*) from public.incidents where kind = 'silent' and ended_at is null))
  from public.whatsapp_sessions
having not exists (select from public.fleet_samples
  where sampled_at = date_bin(make_interval(mins => :minutes), now(), 'epoch'))
on conflict do nothing
