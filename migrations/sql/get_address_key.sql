-- The one form under which an address is known: `services.wppconnect.phone.get_address_key` says the same. A device is
-- cut off, and a line has one form however it is spelt: Brazil's ninth digit, Argentina's 9 and Mexico's 1. Without a
-- search path of its own: so the planner can put its body in its place.
create or replace function app.get_address_key(address text) returns text
language sql immutable parallel safe as $$
  select case
    when address ~ '^[0-9]+$|^[0-9]+(\.[0-9]+)?(:[0-9]+)?@(c\.us|s\.whatsapp\.net)$' then
      regexp_replace(substring(address from '^[0-9]+'),
        '^(55[1-9][1-9])9([6-9][0-9]{7})$|^(54)9([0-9]{10})$|^(52)1([0-9]{10})$', '\1\2\3\4\5\6') || '@c.us'
    when address ~ '^[0-9]+(\.[0-9]+)?:[0-9]+@lid$' then substring(address from '^[0-9]+') || '@lid'
    else address end
$$;
comment on function app.get_address_key is 'the one form of an address, however it is spelt';
revoke execute on function app.get_address_key from public;
grant execute on function app.get_address_key to authenticated, service_role;
