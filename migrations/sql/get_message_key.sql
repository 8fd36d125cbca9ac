-- What all names of one WhatsApp message have in common: who wrote it, and its stanza id. `true_<phone>@c.us_X_out`,
-- `true_<lid>@lid_X_out` and `true_<phone>@c.us_X` are one message. Without a search path of its own: so the planner
-- can put its body in its place.
create or replace function app.get_message_key(wpp_id text) returns text
language sql immutable parallel safe as $$
  select case when split_part(wpp_id, '_', 3) = '' then wpp_id
    else split_part(wpp_id, '_', 1) || '_' || split_part(wpp_id, '_', 3) end
$$;
comment on function app.get_message_key is 'what all names of one WhatsApp message have in common';
revoke execute on function app.get_message_key from public;
grant execute on function app.get_message_key to authenticated, service_role;
