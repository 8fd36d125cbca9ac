-- Attempts to sign in.
create or replace view app.expired_sign_in_attempts as
  select id, occurred_at as since from public.sign_in_attempts;
