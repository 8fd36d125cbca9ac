-- Gives a new audit record its place in the chain. The row lock on the head is held to the end of the transaction,
-- which puts the writers one behind the other.
create or replace function app.chain_audit() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  select h.seq + 1, h.hash into strict new.seq, new.prev_hash from public.audit_head h for update;
  new.hash := app.audit_digest(new);
  update public.audit_head h set seq = new.seq, hash = new.hash;
  return new;
end $$;
revoke execute on function app.chain_audit from public;
create or replace trigger chain_audit before insert on public.audit_log
  for each row execute function app.chain_audit();
