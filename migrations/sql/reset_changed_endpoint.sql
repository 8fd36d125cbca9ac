-- Keeps a replaced secret good for a while, so that nothing is refused between the change here and the change there.
-- Gives a fresh start to an endpoint whose address was corrected or that was turned on again.
create or replace function app.reset_changed_endpoint() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if new.secret is distinct from old.secret then
    new.previous_secret := old.secret;
    new.rotated_at := clock_timestamp();
  end if;
  if (new.active and not old.active) or new.url is distinct from old.url then
    new.failures := 0;
    new.failing_since := null;
    new.off_reason := null;
    new.available_at := clock_timestamp();
  end if;
  return new;
end $$;
revoke execute on function app.reset_changed_endpoint from public;
create or replace trigger reset_changed before update of url, secret, active on public.webhook_endpoints
  for each row execute function app.reset_changed_endpoint();
