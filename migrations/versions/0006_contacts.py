"""With whom a session talks, who asked never to be written to again, and which numbers are on WhatsApp."""

from migrations.ddl import execute, install, tenant_table

revision = "0006_contacts"
down_revision = "0005_fleet"
branch_labels = None
depends_on = None

CONTACTS = """
create table public.contacts (
  id uuid primary key default gen_random_uuid(),
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid not null,
  address text not null,
  phone text,
  lid text,
  is_group boolean not null default false,
  name text,
  pushname text,
  notes text not null default '',
  labels text[] not null default '{}',
  unread integer not null default 0 check (unread >= 0),
  identify_at timestamptz,
  identifications integer not null default 0,
  blocked_at timestamptz,
  last_message_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index contacts_address on public.contacts (session_id, address);
create unique index contacts_phone on public.contacts (session_id, phone) where phone is not null;
create unique index contacts_lid on public.contacts (session_id, lid) where lid is not null;
create index contacts_recent on public.contacts (user_id, last_message_at desc nulls last, id);
create index contacts_unread on public.contacts (session_id) include (unread) where unread > 0;
create index contacts_to_identify on public.contacts (identify_at) where identify_at is not null;
comment on column public.contacts.address is 'the chat as WhatsApp knows it: 55…@c.us, …@lid or …@g.us';
comment on column public.contacts.phone is 'digits with country code, once known; null for groups';
comment on column public.contacts.lid is 'the anonymous id of the same person, once known';
comment on column public.contacts.name is 'as its owner calls it; pushname is how the contact calls itself';
comment on column public.contacts.identify_at is
  'when the phone behind its @lid, or the group''s name, is to be asked for; null: never';
"""

OPT_OUTS = """
create table public.opt_outs (
  user_id uuid not null references auth.users (id) on delete cascade,
  phone text not null,
  trigger_word text,
  created_at timestamptz not null default now(),
  primary key (user_id, phone)
);
create index opt_outs_in_time on public.opt_outs (user_id, created_at);
comment on table public.opt_outs is 'who asked never to be written to again; outlives sessions, contacts and messages';
comment on column public.opt_outs.trigger_word is 'what they wrote; null where the owner noted it for them';
"""

NUMBER_CHECKS = """
create table public.number_checks (
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid not null,
  phone text not null check (phone ~ '^[0-9]{5,20}$'),
  on_whatsapp boolean,
  address text,
  asked_at timestamptz not null default now(),
  checked_at timestamptz,
  confirmed_at timestamptz,
  fresh_until timestamptz,
  primary key (session_id, phone)
);
create index number_checks_asked on public.number_checks (session_id, asked_at);
create index number_checks_unanswered on public.number_checks (asked_at)
  where checked_at is null or checked_at < asked_at;
comment on column public.number_checks.on_whatsapp is 'null: asked, and no answer yet';
comment on column public.number_checks.address is 'as WhatsApp itself writes it: Brazil''s ninth digit';
comment on column public.number_checks.asked_at is 'written before the question: the hour''s budget is counted by it';
comment on column public.number_checks.confirmed_at is 'the newest acknowledgement that came from this address';
comment on column public.number_checks.fresh_until is 'until when the answer is believed';
"""

# People keep their own; what comes in is written by the worker. They may add an opt-out and never take one back: who
# asked to be left alone stays so. Staff read chats only after they broke the glass.
RIGHTS = """
grant update (name, notes, labels, blocked_at, unread, updated_at) on public.contacts to authenticated;
create policy contacts_changed_by_owner on public.contacts for update to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
create policy contacts_through_break_glass on public.contacts for select to authenticated
  using (user_id in (select app.list_break_glass_users('chats')));

grant insert (user_id, phone) on public.opt_outs to authenticated;
create policy opt_outs_noted_by_owner on public.opt_outs for insert to authenticated
  with check ((select auth.uid()) = user_id);
create policy opt_outs_through_break_glass on public.opt_outs for select to authenticated
  using (user_id in (select app.list_break_glass_users('chats')));

grant select, insert (session_id, user_id, phone, asked_at),
    update (on_whatsapp, address, asked_at, checked_at, fresh_until)
  on public.number_checks to authenticated;
create policy number_checks_of_owner on public.number_checks to authenticated
  using ((select auth.uid()) = user_id)
  with check ((select auth.uid()) = user_id and exists (
    select from public.whatsapp_sessions s
     where s.id = number_checks.session_id and s.user_id = (select auth.uid())));
"""


def upgrade() -> None:
    execute(CONTACTS)
    execute(OPT_OUTS)
    execute(NUMBER_CHECKS)
    tenant_table("contacts", definer="all")
    tenant_table("opt_outs")
    tenant_table("number_checks", read_by="nobody")
    execute(RIGHTS)
    install("get_or_create_contact", "count_unread")
