-- name: verify_batch
-- The canonical text must stay, to the letter, that of app.audit_digest.
    with batch as (
      select a.*, lag(a.seq, 1, :seq) over w as seq_before, lag(a.hash, 1, :hash) over w as hash_before
        from (select * from public.audit_log where seq > :seq and seq <= :head order by seq limit :size) a
      window w as (order by a.seq)
    ), judged as (
      select seq, seq_before, hash, case
          when seq is distinct from seq_before + 1 then 'missing'
          when prev_hash is distinct from hash_before then 'unlinked'
          when hash is distinct from sha256(prev_hash || convert_to(jsonb_build_array(seq, id, extract(epoch
              from occurred_at),
            actor_id, actor_role, action, subject, detail, request_id)::text, 'UTF8')) then 'changed' end as fault
        from batch
    )
    select count(*) as walked, max(seq) as seq, (array_agg(hash order by seq desc))[1] as hash,
           bool_or(hash = :expect) as expected,
           (array_agg(fault order by seq) filter (where fault is not null))[1] as fault,
           (array_agg(case fault when 'missing' then seq_before + 1 else seq end order by seq)
             filter (where fault is not null))[1] as broken
      from judged
    
