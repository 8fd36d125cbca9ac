-- Sign-ins that were ended, from when their tokens would have ended anyway.
create or replace view app.expired_signed_out as
  select sign_in_id, expires_at as since from public.signed_out;
