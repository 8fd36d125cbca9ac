"""One WhatsApp message has several names: it is known by what they have in common. WhatsApp's own notices are no
messages, channels and lists are no groups, and what can be read only later is forwarded then."""

from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None

# As `events.message_key` says: who wrote it, and the stanza id. `true_<phone>@c.us_X_out`, `true_<lid>@lid_X_out` and
# `true_<phone>@c.us_X` are one.
KEY = """
create function app.message_key(wpp_id text) returns text
language sql immutable parallel safe as $f$
  select case when split_part(wpp_id, '_', 3) = '' then wpp_id
    else split_part(wpp_id, '_', 1) || '_' || split_part(wpp_id, '_', 3) end
$f$;
revoke execute on function app.message_key from public;
grant execute on function app.message_key to authenticated, service_role;
comment on function app.message_key is 'what all names of one WhatsApp message have in common';
"""

# Of the rows of one message that is kept which was sent from here, or else the first.
DOUBLES = """
create temporary table doubles on commit drop as
select id from (
  select id, row_number() over (partition by session_id, app.message_key(wpp_id)
    order by idempotency_key is null, seq) as place
    from public.messages where wpp_id is not null) as numbered where place > 1;
delete from public.messages where id in (select id from doubles);
drop index public.messages_wpp_id;
create unique index messages_wpp_id on public.messages (session_id, app.message_key(wpp_id)) where wpp_id is not null;
create index parked_acks_of_message on public.parked_acks (session_id, app.message_key(wpp_id));
"""

# Conversations that were made of nothing but notices are none.
NOTICES = """
create temporary table notice_contacts on commit drop as
select distinct contact_id from public.messages where direction = 'in'
   and kind in ('e2e_notification', 'gp2', 'notification', 'notification_template', 'broadcast_notification',
     'newsletter_notification', 'call_log');
delete from public.messages where direction = 'in'
   and kind in ('e2e_notification', 'gp2', 'notification', 'notification_template', 'broadcast_notification',
     'newsletter_notification', 'call_log');
update public.contacts c set last_message_at = n.newest, unread = case when n.newest is null then 0 else c.unread end
  from (select k.contact_id, max(m.at) as newest from notice_contacts k
          left join public.messages m on m.contact_id = k.contact_id and m.state <> 'queued' group by 1) n
 where c.id = n.contact_id;
"""

GROUPS = "update public.contacts set is_group = false where is_group and address not like '%@g.us'"

# It was told of once without its text; whoever listens wants the text.
READABLE = """
create trigger forward_readable after update of kind on public.messages for each row
  when (new.direction = 'in' and old.kind = 'ciphertext' and new.kind <> 'ciphertext')
  execute function app.forward_message();
"""


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    for part in (KEY, DOUBLES, NOTICES, GROUPS, READABLE):
        driver.execute(part)
