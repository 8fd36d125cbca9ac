"""Conversations: whose message it is, what became of it later, when it was said; and old events that wait for them."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

# A thread is read by when things were said, which is neither the order of arrival nor that of the rows.
MESSAGES = """
alter table public.messages
  add column at timestamptz,
  add column fetch_at timestamptz,
  add column fetches integer not null default 0;
update public.messages set at = coalesce(sending_at, created_at);
alter table public.messages alter column at set default now(), alter column at set not null;
comment on column public.messages.at is 'when it was said: by WhatsApp''s clock where that is known';
comment on column public.messages.fetch_at is 'when its file, which did not come along, is to be fetched; null: never';

drop index public.messages_of_contact;
create index messages_of_contact on public.messages (contact_id, at desc, seq desc) where contact_id is not null;
create index messages_to_fetch on public.messages (fetch_at) where fetch_at is not null;
-- Its owner may ask for it again.
grant update (fetch_at) on public.messages to authenticated;
create policy messages_asked_for_by_owner on public.messages for update to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);

alter table public.contacts
  add column identify_at timestamptz,
  add column identifications integer not null default 0;
create index contacts_to_identify on public.contacts (identify_at) where identify_at is not null;
comment on column public.contacts.identify_at is 'when the phone behind its @lid is to be asked for; null: never';
"""

# A mark stands by itself, so that one that comes before its message needs no special care: the thread joins the two.
MARKS = """
create table public.message_marks (
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  wpp_id text not null,
  kind text not null check (kind in ('reaction', 'revoke', 'edit', 'vote', 'receipt')),
  who text not null,
  user_id uuid not null,
  at timestamptz not null,
  value jsonb not null default '{}',
  primary key (session_id, wpp_id, kind, who)
);
comment on table public.message_marks is 'what happened to a message later: by whom, when; the newest of each counts';

alter table public.message_marks enable row level security;
alter table public.message_marks force row level security;
revoke all on public.message_marks from public, anon, authenticated, service_role;
grant select on public.message_marks to authenticated;
grant select, insert, update, delete on public.message_marks to service_role;
create policy message_marks_of_owner on public.message_marks for select to authenticated
  using ((select auth.uid()) = user_id);
create policy message_marks_of_system on public.message_marks to service_role using (true) with check (true);
"""

# The functions below run as the owner, whom row level security binds too where it is no superuser.
OWNER = """
do $$
declare t text;
begin
  foreach t in array array['contacts', 'messages'] loop
    execute format('create policy %I on public.%I to current_user using (true) with check (true)',
      t || '_filed_by_owner', t);
  end loop;
end $$;
"""

# One person has up to two addresses, a phone's and an anonymous one (@lid), and either may be known first. Whoever
# turns out to be one becomes one row: the one with the phone, or else the older, takes over what the other had.
CONTACT_OF = """
create function app.contact_of(of_session uuid, its_address text, its_phone text, its_lid text, group_chat boolean)
returns uuid
language plpgsql volatile security definer set search_path = '' as $f$
declare
  found uuid[];
  made uuid;
  same public.contacts;
begin
  loop
    select array_agg(c.id order by c.phone is null, c.created_at, c.id) into found
      from (select * from public.contacts k
             where k.session_id = of_session and (k.address = its_address or k.phone = its_phone or k.lid = its_lid)
             order by k.id for no key update) c;
    exit when found is not null;
    insert into public.contacts (session_id, user_id, address, phone, lid, is_group, identify_at)
    select of_session, s.user_id, its_address, its_phone, its_lid, group_chat,
           case when its_phone is null and its_lid is not null then now() end
      from public.whatsapp_sessions s where s.id = of_session
    on conflict do nothing returning id into made;
    if made is not null then
      return made;
    end if;
    if not exists (select from public.whatsapp_sessions s where s.id = of_session) then
      return null;
    end if;
  end loop;
  made := found[1];
  if cardinality(found) > 1 then
    for same in select * from public.contacts where id = any(found[2:]) loop
      update public.messages set contact_id = made where contact_id = same.id;
      delete from public.contacts where id = same.id;
      update public.contacts set
        phone = coalesce(phone, same.phone), lid = coalesce(lid, same.lid), name = coalesce(name, same.name),
        pushname = coalesce(pushname, same.pushname), blocked_at = coalesce(blocked_at, same.blocked_at),
        notes = concat_ws(e'\\n', nullif(notes, ''), nullif(same.notes, '')),
        labels = array(select distinct x from unnest(labels || same.labels) x order by 1),
        unread = unread + same.unread, last_message_at = greatest(last_message_at, same.last_message_at)
       where id = made;
    end loop;
  end if;
  update public.contacts set phone = coalesce(phone, its_phone), lid = coalesce(lid, its_lid), updated_at = now()
   where id = made and ((phone is null and its_phone is not null) or (lid is null and its_lid is not null));
  return made;
end $f$;
"""

# What goes out joins the conversation of its phone: at once where there is one, and else when it leaves, so that
# whoever was only queued for is no conversation yet. What will leave later stands where it will have been said.
FILING = """
create function app.file_message() returns trigger
language plpgsql volatile security definer set search_path = '' as $f$
declare
  leaving boolean := new.state = 'sending' and (tg_op = 'INSERT' or old.state <> 'sending');
  anonymous text := case when new.address like '%@lid' then new.address end;
begin
  if tg_op = 'INSERT' and new.state = 'queued' then
    new.at := new.run_at;
  elsif leaving then
    new.at := clock_timestamp();
  end if;
  if new.contact_id is null and not leaving then
    select c.id into new.contact_id from public.contacts c
     where c.session_id = new.session_id and c.phone = new.phone;
  elsif leaving and (new.contact_id is null or anonymous is not null) then
    new.contact_id := app.contact_of(new.session_id, coalesce(nullif(new.address, ''), new.phone || '@c.us'),
      new.phone, anonymous, false);
  end if;
  if leaving then
    -- Not waited for: whoever holds the contact just now stores a message of the same moment, and two who wait for each
    -- other's contacts would end in a deadlock.
    update public.contacts set last_message_at = greatest(last_message_at, new.at) where id in (
      select c.id from public.contacts c where c.id = new.contact_id for no key update skip locked);
  end if;
  return new;
end $f$;
create trigger file before insert or update of state on public.messages
  for each row when (new.direction = 'out' and new.state in ('queued', 'sending')) execute function app.file_message();
"""

# A file that has come, a text that was changed and a mark are news too.
BELLS = """
drop trigger ring on public.messages;
create trigger ring after insert or update of state, body, media_sha256 on public.messages
  for each row execute function app.ring_message();
create trigger ring after insert or update on public.message_marks
  for each row execute function app.ring_message();
create trigger ring after update of unread, name, labels, blocked_at on public.contacts
  for each row execute function app.ring_message();
"""

# What was sent before joins its conversation as it leaves; what came in waits in its events and is handled now.
BACKLOG = """
update public.events set verdict = 'received', attempts = 0, retry_at = null
 where verdict = 'unsupported' and kind in ('onmessage', 'onselfmessage', 'unreadmessages', 'onreactionmessage',
   'onrevokedmessage', 'onpollresponse', 'incomingcall');
"""

SENT_BEFORE = """
select app.contact_of(m.session_id, coalesce(nullif(m.address, ''), m.phone || '@c.us'), m.phone,
    case when m.address like '%@lid' then m.address end, false)
  from (select distinct on (session_id, phone) * from public.messages
         where direction = 'out' and state not in ('queued', 'failed') order by session_id, phone, seq desc) m;
update public.messages m set contact_id = c.id from public.contacts c
 where c.session_id = m.session_id and c.phone = m.phone and m.contact_id is null;
update public.contacts c set last_message_at = n.at
  from (select contact_id, max(at) as at from public.messages where state <> 'queued' group by 1) n
 where n.contact_id = c.id;
"""

FUNCTIONS = """
revoke execute on function app.contact_of(uuid, text, text, text, boolean), app.file_message() from public;
grant execute on function app.contact_of(uuid, text, text, text, boolean) to service_role;
"""


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    for part in (MESSAGES, MARKS, OWNER, CONTACT_OF, FILING, BELLS, BACKLOG, SENT_BEFORE, FUNCTIONS):
        driver.execute(part)
