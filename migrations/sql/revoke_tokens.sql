-- Makes every token of a user worthless. For oneself, or by staff.
create or replace function app.revoke_tokens(wanted uuid) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if (auth.uid() = wanted or app.is_staff()) is not true then
    raise exception 'only for oneself or by staff' using errcode = 'insufficient_privilege';
  end if;
  insert into public.accounts as a (user_id, token_version) values (wanted, 2)
    on conflict (user_id) do update set token_version = a.token_version + 1, updated_at = now();
  insert into public.security_events (kind, subject, actor_id) values ('tokens_revoked', wanted::text, auth.uid());
end $$;
revoke execute on function app.revoke_tokens from public;
grant execute on function app.revoke_tokens to authenticated;
