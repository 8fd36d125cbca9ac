-- Notes the quarters in which people opted out, also where an opt-out is taken back.
create or replace function app.mark_opt_outs() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.report_dirty_buckets (user_id, quarter)
    select distinct c.user_id, app.get_quarter(c.created_at) from changed c;
  return null;
end $$;
revoke execute on function app.mark_opt_outs from public;
create or replace trigger mark_opt_out after insert on public.opt_outs
  referencing new table as changed for each statement execute function app.mark_opt_outs();
create or replace trigger mark_late_opt_out after update on public.opt_outs
  referencing new table as changed for each statement execute function app.mark_opt_outs();
create or replace trigger mark_opt_in after delete on public.opt_outs
  referencing old table as changed for each statement execute function app.mark_opt_outs();
