-- Lets a break-glass grant change only once, and only to end it. When it ended is not for the caller to choose.
create or replace function app.allow_only_ending() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if old.ended_at is not null or (to_jsonb(new) - 'ended_at') is distinct from (to_jsonb(old) - 'ended_at') then
    raise exception 'break_glass_grants is append-only' using errcode = 'insufficient_privilege';
  end if;
  new.ended_at := clock_timestamp();
  return new;
end $$;
revoke execute on function app.allow_only_ending from public;
create or replace trigger allow_only_ending before update on public.break_glass_grants
  for each row execute function app.allow_only_ending();
