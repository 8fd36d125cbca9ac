-- Events that nothing waits for. A message that came in and is `unsupported` stays: it is kept nowhere else until
-- something reads it. An `invalid` event is no JSON object: nobody can replay it, it is kept only to be looked at.
create or replace view app.expired_events as
  select id, received_at as since from public.events
   where verdict in ('handled', 'unsupported', 'duplicate', 'invalid')
     and not (verdict = 'unsupported' and kind = 'onmessage');
