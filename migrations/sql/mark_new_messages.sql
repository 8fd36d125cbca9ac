-- Notes the quarters of messages that came or went. Many may come or go in one statement, so it runs once for each
-- statement.
create or replace function app.mark_new_messages() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.report_dirty_buckets (user_id, quarter, phone)
    select distinct n.user_id, app.get_quarter(n.run_at), n.phone from changed n;
  return null;
end $$;
revoke execute on function app.mark_new_messages from public;
create or replace trigger mark_new after insert on public.messages
  referencing new table as changed for each statement execute function app.mark_new_messages();
create or replace trigger mark_deleted after delete on public.messages
  referencing old table as changed for each statement execute function app.mark_new_messages();
