-- Whether a message that came in is one that a person wrote to the session, by its kind: it makes them somebody who
-- knows the sender, and counts as received. A kind that nobody has heard of is taken for a message. Without a search
-- path of its own: so the planner can put its body in its place; a partial index is of it.
create or replace function app.is_written(kind text) returns boolean
language sql immutable parallel safe as $$
  select kind not in ('ciphertext', 'revoked', 'call', 'call_log', 'album', 'protocol', 'pinned_message', 'keep_in_chat',
    'poll_update', 'debug', 'e2e_notification', 'gp2', 'notification', 'notification_template', 'broadcast_notification',
    'newsletter_notification')
$$;
comment on function app.is_written is 'whether an inbound message of this kind was written by a person';
revoke execute on function app.is_written from public;
grant execute on function app.is_written to authenticated, service_role;
