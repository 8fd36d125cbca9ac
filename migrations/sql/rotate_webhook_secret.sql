-- Keeps the older secret of a session's webhook beside a new one. A server that we could not reach still holds the URL
-- of the last start that it did accept, so the older secret stays good until the newer one has been used.
create or replace function app.rotate_webhook_secret() returns trigger
language plpgsql as $$
begin
  if old.webhook_secret_used_at is not null then
    new.webhook_secret_previous_hash := old.webhook_secret_hash;
  end if;
  new.webhook_secret_used_at := null;
  return new;
end $$;
revoke execute on function app.rotate_webhook_secret from public;
create or replace trigger rotate_webhook_secret before update of webhook_secret_hash on public.whatsapp_sessions
  for each row when (new.webhook_secret_hash is distinct from old.webhook_secret_hash)
  execute function app.rotate_webhook_secret();
