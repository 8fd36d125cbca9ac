-- Notes the quarter of a message whose figures changed, and the quarter that it left. Each message moves on in a
-- statement of its own: a trigger for each row costs less there, and one that is only claimed again does not call it.
create or replace function app.mark_moved_message() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.report_dirty_buckets (user_id, quarter, phone)
    values (new.user_id, app.get_quarter(new.run_at), new.phone);
  if (old.run_at, old.phone) is distinct from (new.run_at, new.phone) then
    insert into public.report_dirty_buckets (user_id, quarter, phone)
      values (old.user_id, app.get_quarter(old.run_at), old.phone);
  end if;
  return null;
end $$;
revoke execute on function app.mark_moved_message from public;
create or replace trigger mark_moved after update of state, failure, run_at, sending_at, delivered_at, read_at, phone,
    template_id, schedule_id, campaign_id on public.messages for each row
  when ((new.state, new.failure, new.run_at, new.sending_at, new.delivered_at, new.read_at, new.phone, new.template_id,
         new.schedule_id, new.campaign_id)
    is distinct from (old.state, old.failure, old.run_at, old.sending_at, old.delivered_at, old.read_at, old.phone,
         old.template_id, old.schedule_id, old.campaign_id))
  execute function app.mark_moved_message();
