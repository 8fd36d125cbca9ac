-- name: count_by_status
select count(*) filter (where status = 'conectado') as connected,
       count(*) filter (where status = 'pareando') as pairing,
       count(*) filter (where status = 'desconectado') as disconnected,
       count(*) filter (where status = 'conectado'
         and coalesce(last_proof_at < now() - make_interval(secs => :unproven), true)) as unproven,
       (select count(*) from public.incidents where kind = 'silent' and ended_at is null) as silent
  from public.whatsapp_sessions
