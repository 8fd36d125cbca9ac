"""What a message can carry beyond a text, whom it is with, and who asked never to be written to again."""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# The bytes lie in the media store, under their owner and their hash; here is only what there is.
MEDIA = """
create table public.media (
  user_id uuid not null references auth.users (id) on delete cascade,
  sha256 bytea not null check (length(sha256) = 32),
  mimetype text not null check (length(mimetype) between 3 and 200),
  size bigint not null check (size > 0),
  created_at timestamptz not null default now(),
  primary key (user_id, sha256)
);
comment on table public.media is 'one row and one file for each content of each user, however many messages carry it';
"""

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
  blocked_at timestamptz,
  unread integer not null default 0 check (unread >= 0),
  last_message_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now()
);
create unique index contacts_address on public.contacts (session_id, address);
create unique index contacts_phone on public.contacts (session_id, phone) where phone is not null;
create unique index contacts_lid on public.contacts (session_id, lid) where lid is not null;
create index contacts_recent on public.contacts (user_id, last_message_at desc nulls last, id);
comment on column public.contacts.address is 'the chat as WhatsApp knows it: 55…@c.us, …@lid or …@g.us';
comment on column public.contacts.phone is 'digits with country code, once known; null for groups';
comment on column public.contacts.lid is 'the anonymous id of the same person, once known';
comment on column public.contacts.name is 'as its owner calls it; pushname is how the contact calls itself';

create table public.opt_outs (
  user_id uuid not null references auth.users (id) on delete cascade,
  phone text not null,
  at timestamptz not null default now(),
  word text,
  primary key (user_id, phone)
);
comment on table public.opt_outs is 'who asked never to be written to again; outlives sessions, contacts and messages';
comment on column public.opt_outs.word is 'what they wrote; null where the owner noted it for them';
"""

MESSAGES = """
alter table public.messages
  add column contact_id uuid references public.contacts (id) on delete set null,
  add column media_sha256 bytea,
  add column mimetype text,
  add column filename text,
  add column detail jsonb not null default '{}',
  add column quoted_wpp_id text,
  add column template_id uuid,
  add column template_version integer,
  add column schedule_id uuid,
  add column campaign_id uuid,
  add constraint messages_media foreign key (user_id, media_sha256) references public.media (user_id, sha256)
    on delete set null (media_sha256);
create index messages_with_media on public.messages (user_id, media_sha256) where media_sha256 is not null;
create index messages_of_contact on public.messages (contact_id, seq desc) where contact_id is not null;
comment on column public.messages.body is 'the text, or the caption of a file';
comment on column public.messages.detail is 'what a kind has beyond text and file: a place, a contact card, a poll, …';
"""

LANES = """
alter table public.lanes add column stopped_at timestamptz;
comment on column public.lanes.stopped_at is 'the kill switch: nothing leaves through this lane until it is null again';
"""

# People keep their own; what comes in is written by the worker. Who asked to be left alone stays so.
ISOLATION = """
do $$
declare t text;
begin
  foreach t in array array['media', 'contacts', 'opt_outs'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('alter table public.%I force row level security', t);
    execute format('revoke all on public.%I from public, anon, authenticated, service_role', t);
    execute format('grant select, insert, update, delete on public.%I to service_role', t);
    execute format('create policy %I on public.%I to service_role using (true) with check (true)',
      t || '_of_system', t);
    execute format('grant select on public.%I to authenticated', t);
    execute format('create policy %I on public.%I for select to authenticated using ((select auth.uid()) = user_id)',
      t || '_of_owner', t);
  end loop;
end $$;
grant insert (user_id, sha256, mimetype, size) on public.media to authenticated;
create policy media_kept_by_owner on public.media for insert to authenticated
  with check ((select auth.uid()) = user_id);
grant update (name, notes, labels, blocked_at, unread, updated_at) on public.contacts to authenticated;
create policy contacts_changed_by_owner on public.contacts for update to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
grant insert (user_id, phone) on public.opt_outs to authenticated;
create policy opt_outs_noted_by_owner on public.opt_outs for insert to authenticated
  with check ((select auth.uid()) = user_id);
grant insert (kind, media_sha256, mimetype, filename, detail, quoted_wpp_id, template_id, template_version, schedule_id,
    campaign_id) on public.messages to authenticated;
"""


def upgrade() -> None:
    for part in (MEDIA, CONTACTS, MESSAGES, LANES, ISOLATION):
        op.get_bind().connection.driver_connection.execute(part)
