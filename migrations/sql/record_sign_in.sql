-- Records how an attempt ended, as a security event. Nothing happens if the attempt has succeeded already.
create or replace function app.record_sign_in(attempt bigint, succeeded boolean, who uuid, request text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  booked public.sign_in_attempts;
  until timestamptz;
begin
  update public.sign_in_attempts a set succeeded = record_sign_in.succeeded
   where a.id = attempt and not a.succeeded returning * into booked;
  if not found then
    return;
  end if;
  select l.until into until from app.locked_until(booked.key, booked.ip) l;
  insert into public.security_events (kind, subject, ip, detail, request_id) values (
    case when booked.succeeded then 'sign_in' when until is not null then 'sign_in_locked' else 'sign_in_failed' end,
    coalesce(who::text, 'sha256:' || left(encode(booked.key, 'hex'), 16)), booked.ip, '{}', request);
end $$;
revoke execute on function app.record_sign_in from public;
