-- name: record_proofs
update public.whatsapp_sessions s set last_proof_at = clock_timestamp(), last_proof_kind = :kind
  from unnest(cast(:ids as uuid[]), cast(:attempts as timestamptz[])) as p (id, attempt)
 where s.id = p.id and s.status = 'conectado' and s.pairing_started_at is not distinct from p.attempt
