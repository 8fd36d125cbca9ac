-- Notes, in the transaction that takes the acknowledgement or the server's answer, what became of a campaign's message
-- to somebody who does not know the sender. Appended rather than counted, so that no message waits for another's; the
-- release counts it (`services/outreach/campaign_restriction.py`). The same acknowledgement twice moves no state twice.
create or replace function app.record_cold_outcome() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.cold_outcomes (user_id, message_id, outcome)
    values (new.user_id, new.id, case when new.state = 'failed' then 'refused' when new.state = 'sent' then 'accepted'
      else 'delivered' end);
  perform pg_notify('campaigns', '');
  return null;
end $$;
revoke execute on function app.record_cold_outcome from public;
create or replace trigger record_cold_outcome after update of state on public.messages for each row
  when (new.cold and new.state <> old.state and (
    new.state = 'failed' and new.failure in ('rejected', 'restricted')
    or new.state = 'sent' and old.state = 'failed'
    or new.state in ('delivered', 'read') and old.state not in ('delivered', 'read')))
  execute function app.record_cold_outcome();
