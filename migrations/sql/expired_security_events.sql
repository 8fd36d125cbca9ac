-- Security events.
create or replace view app.expired_security_events as
  select id, occurred_at as since from public.security_events;
