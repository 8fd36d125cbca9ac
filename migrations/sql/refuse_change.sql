-- Refuses the statement. Unlike missing grants, a trigger also binds the owner of the database and a superuser.
create or replace function app.refuse_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  raise exception '% is append-only', tg_table_name using errcode = 'insufficient_privilege';
end $$;
revoke execute on function app.refuse_change from public;
create or replace trigger append_only before update or delete or truncate on public.audit_log
  for each statement execute function app.refuse_change();
-- Depth 0 is a statement of somebody; the trigger that extends the chain is deeper.
create or replace trigger only_by_the_chain before insert or update or delete or truncate on public.audit_head
  for each statement when (pg_trigger_depth() < 1) execute function app.refuse_change();
create or replace trigger append_only before update or truncate on public.security_events
  for each statement execute function app.refuse_change();
-- The clean-up takes old ones, and nobody the new ones.
create or replace trigger too_young_to_delete before delete on public.security_events
  for each row when (old.occurred_at > now() - interval '30 days') execute function app.refuse_change();
create or replace trigger append_only before delete or truncate on public.break_glass_grants
  for each statement execute function app.refuse_change();
