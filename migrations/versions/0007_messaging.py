"""Messages in and out, the lane through which those of a session leave, and acknowledgements that came too early."""

from migrations.ddl import execute, install, tenant_table

revision = "0007_messaging"
down_revision = "0006_contacts"
branch_labels = None
depends_on = None

MESSAGES = """
create table public.messages (
  id uuid primary key default gen_random_uuid(),
  seq bigint generated always as identity,
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid not null,
  contact_id uuid references public.contacts (id) on delete set null,
  direction text not null check (direction in ('out', 'in')),
  phone text not null,
  address text,
  contact_name text,
  -- what it carries
  kind text not null default 'chat',
  body text not null default '',
  media_sha256 bytea,
  mimetype text,
  filename text,
  detail jsonb not null default '{}' check (jsonb_typeof(detail) = 'object'),
  quoted_wpp_id text,
  -- what it was made by
  template_id uuid,
  template_version integer,
  schedule_id uuid,
  campaign_id uuid,
  idempotency_key text,
  request_id text,
  -- how far it has come
  state text not null check (state in ('queued', 'sending', 'accepted', 'sent', 'delivered', 'read', 'failed',
    'uncertain', 'cancelled', 'received')),
  failure text,
  wpp_id text,
  ack smallint not null default 0,
  attempts integer not null default 0,
  occurred_at timestamptz not null default now(),
  run_at timestamptz not null default now(),
  claimed_at timestamptz,
  sending_at timestamptz,
  accepted_at timestamptz,
  sent_at timestamptz,
  delivered_at timestamptz,
  read_at timestamptz,
  ended_at timestamptz,
  -- while it is held up
  waiting_reason text check (waiting_reason = 'numbers'),
  waiting_since timestamptz,
  asked_at timestamptz,
  -- where it is unknown whether it left
  uncertain_at timestamptz,
  reconcile_at timestamptz,
  reconciliations integer not null default 0,
  reconciled_at timestamptz,
  decision text check (decision in ('left', 'again', 'dropped')),
  decided_at timestamptz,
  -- where its file did not come along
  fetch_at timestamptz,
  fetches integer not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint messages_media foreign key (user_id, media_sha256) references public.media (user_id, sha256)
    on delete set null (media_sha256)
);
comment on column public.messages.body is 'the text, or the caption of a file';
comment on column public.messages.detail is 'what a kind has beyond text and file: a place, a contact card, a poll, …';
comment on column public.messages.attempts is 'how often a worker took it, which fences what each says of it';
comment on column public.messages.occurred_at is 'when it was said: by WhatsApp''s clock where that is known';
comment on column public.messages.claimed_at is 'when a worker last took the message up';
comment on column public.messages.waiting_reason is 'why it waits where its lane does not';
comment on column public.messages.waiting_since is 'when it was first held up; kept until its owner decides';
comment on column public.messages.asked_at is
  'since when its owner is asked: from then on it does not leave by itself';
comment on column public.messages.uncertain_at is 'when it became unknown whether the message left';
comment on column public.messages.reconciled_at is 'when an uncertain message was found in its chat';
comment on column public.messages.decision is
  'what its owner made of a doubt: it had left, it had not and was queued again, or it was let go';
comment on column public.messages.fetch_at is
  'when its file, which did not come along, is to be fetched; null: never';
"""

# A thread is read by when things were said (`occurred_at`), which is neither the order of arrival nor that of the rows.
# `messages_of_chat` is a chat in its order, to find what an answer answers, and `messages_in_time` is for the reports.
# `messages_inbound` tells who wrote to us, and is no cold contact of a campaign.
INDEXES = """
create unique index messages_idempotency on public.messages (user_id, idempotency_key)
  where idempotency_key is not null;
create unique index messages_wpp_id on public.messages (session_id, app.get_message_key(wpp_id))
  where wpp_id is not null;

create index messages_of_user on public.messages (user_id, seq desc);
create index messages_of_session on public.messages (session_id, created_at desc);
create index messages_of_contact on public.messages (contact_id, occurred_at desc, seq desc)
  where contact_id is not null;
create index messages_of_chat on public.messages (user_id, phone, run_at, seq);
create index messages_of_campaign on public.messages (campaign_id, state) where campaign_id is not null;
create index messages_in_time on public.messages (user_id, run_at);
create index messages_inbound on public.messages (user_id, phone, created_at) where direction = 'in';
create index messages_with_media on public.messages (user_id, media_sha256) where media_sha256 is not null;
create index messages_words on public.messages using gin (user_id, app.get_search_words(body)) where body <> '';

create index messages_waiting on public.messages (session_id, run_at, seq) where state = 'queued' and asked_at is null;
create index messages_waited on public.messages (waiting_since)
  where state = 'queued' and asked_at is null and waiting_since is not null;
create index messages_asked on public.messages (user_id, seq) where state = 'queued' and asked_at is not null;
create index messages_in_flight on public.messages (session_id) where state = 'sending';
create index messages_unacked on public.messages (accepted_at) where state = 'accepted';
create index messages_uncertain on public.messages (user_id, seq) where state = 'uncertain';
create index messages_doubted on public.messages (uncertain_at) where state = 'uncertain';
create index messages_unsettled on public.messages (reconcile_at)
  where state = 'uncertain' and reconcile_at is not null;
create index messages_to_fetch on public.messages (fetch_at) where fetch_at is not null;
"""

# People queue and read their own messages. Staff have no way in here: to read a user's chat needs a reason, and
# goes through broken glass.
READING_AND_QUEUEING = """
create policy messages_through_break_glass on public.messages for select to authenticated
  using (user_id in (select app.list_break_glass_users('chats')));
grant insert (session_id, user_id, direction, state, phone, contact_name, kind, body, media_sha256, mimetype, filename,
    detail, quoted_wpp_id, template_id, template_version, schedule_id, campaign_id, idempotency_key, request_id, run_at)
  on public.messages to authenticated;
create policy messages_queued_by_owner on public.messages for insert to authenticated
  with check ((select auth.uid()) = user_id and direction = 'out' and state = 'queued' and exists (
    select from public.whatsapp_sessions s where s.id = messages.session_id and s.user_id = (select auth.uid())));
"""

# The owner of a message may take back what has not begun to leave, end a doubt, let a message go on that waits for the
# owner's word, and ask for a file again. What the worker has in hand only the worker moves. What may have left never
# becomes `queued` again: that policy is restrictive, so it binds beside every other one.
DECISIONS = """
grant update (state, failure, run_at, sent_at, ended_at, waiting_reason, waiting_since, asked_at, reconcile_at,
    decision, decided_at, fetch_at, updated_at)
  on public.messages to authenticated;
create policy messages_decided_by_owner on public.messages for update to authenticated
  using ((select auth.uid()) = user_id and direction = 'out' and state in ('queued', 'uncertain'))
  with check ((select auth.uid()) = user_id and direction = 'out'
    and (state = 'cancelled' or (state in ('sent', 'failed') and decision is not null)
      or (state = 'queued' and asked_at is null)));
create policy messages_asked_for_by_owner on public.messages for update to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
create policy messages_never_again on public.messages as restrictive for update to authenticated
  using (true) with check (state not in ('queued', 'sending') or uncertain_at is null);
"""

# `ready_at` says in one column when a lane's turn is, so that a pick reads the first entries of one index however much
# waits. A wait (`retry_at`) stands beside the lease (`available_at`): it ends the moment that what is waited for is
# back, and a lease never does. `infinity` has no turn: while its session is down a lane is not tried at all.
# `stopped_by_staff`: what staff stopped its owner does not start again.
LANES = """
create table public.lanes (
  session_id uuid primary key references public.whatsapp_sessions (id) on delete cascade,
  available_at timestamptz not null default '-infinity',
  due_at timestamptz,
  stopped_at timestamptz,
  stopped_by_staff boolean not null default false,
  waiting_reason text check (waiting_reason in ('server', 'session', 'no_answer', 'setup', 'files')),
  waiting_since timestamptz,
  retry_at timestamptz,
  tries integer not null default 0,
  ready_at timestamptz generated always as (
    case when stopped_at is null and due_at is not null
      then nullif(greatest(available_at, due_at, retry_at), 'infinity'::timestamptz) end) stored
);
create index lanes_ready on public.lanes (ready_at) where ready_at is not null;
create index lanes_waiting on public.lanes (waiting_since) where waiting_since is not null;
comment on column public.lanes.available_at is 'lease and pace at once: nobody may claim the lane before';
comment on column public.lanes.due_at is 'when its first waiting message is due; null while none waits';
comment on column public.lanes.stopped_at is 'the kill switch: nothing leaves through this lane until it is null again';
comment on column public.lanes.waiting_reason is 'why nothing leaves although it is due; null while things leave';
comment on column public.lanes.retry_at is 'when it is tried again while it waits; infinity: once its session is up';
comment on column public.lanes.tries is 'how often it was tried since it waits';
comment on column public.lanes.ready_at is 'when the lane is free, due, not stopped and not waiting: its turn';
"""

# Whoever may see a session may see and move its lane.
LANE_RIGHTS = """
grant select, insert, update on public.lanes to authenticated;
create policy lanes_of_owner_or_staff on public.lanes to authenticated
  using (exists (select from public.whatsapp_sessions s where s.id = lanes.session_id))
  with check (exists (select from public.whatsapp_sessions s where s.id = lanes.session_id));
"""

# The sessions of an overview that was adopted: without a lane their messages would wait for ever.
LANES_OF_ADOPTED_SESSIONS = "insert into public.lanes (session_id) select id from public.whatsapp_sessions"

# Acknowledgements that came before their message was known.
PENDING_ACKS = """
create table public.pending_acks (
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  wpp_id text not null,
  ack smallint not null,
  received_at timestamptz not null default now(),
  primary key (session_id, wpp_id)
);
create index pending_acks_at on public.pending_acks (received_at);
create index pending_acks_of_message on public.pending_acks (session_id, app.get_message_key(wpp_id));
"""


def upgrade() -> None:
    install("get_message_key")
    execute(MESSAGES)
    execute(INDEXES)
    tenant_table("messages", definer="all")
    execute(READING_AND_QUEUEING)
    execute(DECISIONS)

    execute(LANES)
    tenant_table("lanes", read_by="nobody", definer="all")
    execute(LANE_RIGHTS)
    install("create_lane", "hold_lane", "record_waiting")
    execute(LANES_OF_ADOPTED_SESSIONS)

    execute(PENDING_ACKS)
    tenant_table("pending_acks", read_by="nobody", definer="all")

    install("file_message", "count_uncertain")
    install("notify_message", "notify_lane", "notify_waiting")
