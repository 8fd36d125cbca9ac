"""One person, whichever address WhatsApp calls them by: a contact's addresses, and messages known by key and chat.

Until now a message was its key in its session. Two chats can have the same key (a list that was written to on the
phone), so the chat is a part of it now, and a chat is a contact under any of its addresses.
"""

from migrations.ddl import execute, install, tenant_table

revision = "0013_identity"
down_revision = "0012_operations"
branch_labels = None
depends_on = None

# `name_typed`: nobody can tell of an older name whether its owner typed it. Taking it for typed loses none.
CONTACTS = """
alter table public.contacts
  add column name_typed boolean not null default false,
  add column identified_at timestamptz,
  add column read_until timestamptz;
update public.contacts set name_typed = true where name is not null;
comment on column public.contacts.name_typed is
  'its owner typed the name here; else it follows the phone''s address book';
comment on column public.contacts.identified_at is
  'the newest word, by WhatsApp''s clock, that its phone and its @lid are one person';
comment on column public.contacts.read_until is 'what came until then was read on the phone';
grant update (name_typed) on public.contacts to authenticated;
"""

CONTACT_ADDRESSES = """
create table public.contact_addresses (
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  address text not null,
  contact_id uuid not null references public.contacts (id) on delete cascade,
  user_id uuid not null,
  primary key (session_id, address)
);
create index contact_addresses_of_contact on public.contact_addresses (contact_id);
comment on table public.contact_addresses is 'who is meant by an address: every address that a contact has';
comment on column public.contact_addresses.address is 'in the form of app.get_address_key';
"""
CONTACT_ADDRESS_RIGHTS = """
create policy contact_addresses_through_break_glass on public.contact_addresses for select to authenticated
  using (user_id in (select app.list_break_glass_users('chats')));
"""
# Where a line in two spellings made two contacts, the oldest has it until they are one (ROWS_JOINED).
ADDRESSES_OF_CONTACTS = """
insert into public.contact_addresses (session_id, address, contact_id, user_id)
select k.session_id, app.get_address_key(y), k.id, k.user_id
  from public.contacts k cross join unnest(array[k.address, k.phone || '@c.us', k.lid]) y
 where y is not null
 order by k.phone is null, k.created_at, k.id
on conflict do nothing;
"""

# A null column is added without rewriting the table.
MESSAGES = """
alter table public.messages add column file_event_id bigint;
comment on column public.messages.file_event_id is 'the event that holds the file, until it is fetched from there';
drop index public.messages_wpp_id;
create unique index messages_of_name on public.messages (contact_id, app.get_message_key(wpp_id))
  where wpp_id is not null and contact_id is not null;
create index messages_by_key on public.messages (session_id, app.get_message_key(wpp_id)) where wpp_id is not null;
create index message_annotations_by_key on public.message_annotations (session_id, app.get_message_key(wpp_id));
"""

# What was there before: two contacts of one line, texts of a person whose number came later, and what was noted of a
# message under another of its names.
ROWS_JOINED = """
select app.join_contacts(a.contact_id, k.id)
  from public.contacts k join public.contact_addresses a
    on a.session_id = k.session_id and a.address = app.get_address_key(k.phone || '@c.us') and a.contact_id <> k.id;
update public.messages m set phone = k.phone
  from public.contacts k where k.id = m.contact_id and m.phone like '%@lid' and k.phone is not null;
select app.claim_annotations(m.id) from (
  select distinct m.id from public.message_annotations a join public.messages m
    on m.session_id = a.session_id and m.wpp_id is not null and m.wpp_id <> a.wpp_id
      and app.get_message_key(m.wpp_id) = app.get_message_key(a.wpp_id)) m;
"""

# Joining contacts runs as the owner of the database, whom row-level security binds too.
JOINING = """
create policy automation_uses_of_database_owner on public.automation_uses to current_user
  using (true) with check (true);
create policy message_annotations_of_database_owner on public.message_annotations to current_user
  using (true) with check (true);
create policy number_checks_of_database_owner on public.number_checks to current_user using (true) with check (true);
"""


def upgrade() -> None:
    install("get_address_key")
    execute(CONTACTS)
    execute(CONTACT_ADDRESSES)
    tenant_table("contact_addresses", definer="all")
    execute(CONTACT_ADDRESS_RIGHTS)
    execute(ADDRESSES_OF_CONTACTS)
    install("record_addresses")
    execute(MESSAGES)
    execute(JOINING)
    # A fresh database has the newest form of it already.
    execute("drop function if exists app.get_or_create_contact(uuid, text, text, text, boolean)")
    install(
        "may_be_one_person", "create_contact", "recount_unread", "move_annotations", "fold_message", "join_contacts"
    )
    install("get_or_create_contact", "find_message", "claim_annotations", "mark_read_on_phone")
    install("file_message", "enqueue_message_webhook", "get_message_facts")
    execute(ROWS_JOINED)
