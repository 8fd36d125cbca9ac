-- Tells pages that an account changed: an open page must notice at once that its user was shut out.
-- Same channel and form as for sessions.
create or replace function app.notify_account() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pg_notify('live', 'account:' || new.user_id);
  return null;
end $$;
revoke execute on function app.notify_account from public;
create or replace trigger notify after insert or update of active, token_version on public.accounts
  for each row execute function app.notify_account();
