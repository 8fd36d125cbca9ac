-- The hash over an audit record and the hash before it. The hashed text is a JSON array as PostgreSQL writes jsonb:
-- keys in order, no choice of spaces. Moments are seconds since 1970, which no session's time zone changes.
create or replace function app.audit_digest(r public.audit_log) returns bytea
language sql stable set search_path = pg_catalog, pg_temp as $$
  select sha256(r.prev_hash || convert_to(jsonb_build_array(r.seq, r.id, extract(epoch from r.occurred_at), r.actor_id,
    r.actor_role, r.action, r.subject, r.detail, r.request_id)::text, 'UTF8'))
$$;
revoke execute on function app.audit_digest from public;
