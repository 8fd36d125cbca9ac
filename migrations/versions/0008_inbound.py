"""What came in: stored events, what happened to messages later, outages and their backfill, and automations."""

from psycopg import sql

from migrations.ddl import execute, install, system_login, tenant_table

revision = "0008_inbound"
down_revision = "0007_messaging"
branch_labels = None
depends_on = None

# The receiver's insert must be cheap. So the indexes for staff and for the retention are partial: a row enters them
# only when the worker has handled it.
EVENTS = """
create table public.events (
  id bigint generated always as identity primary key,
  request_id uuid not null,
  session text,
  current_secret boolean not null default true,
  kind text not null,
  dedupe_key uuid,
  body text not null,
  verdict text not null default 'received'
    check (verdict in ('received', 'handled', 'duplicate', 'unsupported', 'failed', 'invalid')),
  attempts integer not null default 0,
  error text,
  received_at timestamptz not null default clock_timestamp(),
  retry_at timestamptz,
  handled_at timestamptz
);
create unique index events_once on public.events (dedupe_key) where verdict <> 'duplicate';
create index events_waiting on public.events (id) where verdict = 'received';
create index events_done on public.events (received_at) where verdict <> 'received';
create index events_of_session on public.events (session, id) where verdict <> 'received';
create index events_of_kind on public.events (kind, id) where verdict <> 'received';
create index events_of_verdict on public.events (verdict, id)
  where verdict in ('duplicate', 'unsupported', 'failed', 'invalid');
comment on table public.events is 'every webhook delivery, stored raw before it is answered';
comment on column public.events.session is 'proved by the URL, or named by a holder of the shared token';
comment on column public.events.current_secret is 'false when the URL was that of an earlier pairing attempt';
comment on column public.events.body is 'as it came; text, because jsonb refuses \\u0000 and reorders keys';
"""
# Staff may send a failed event round again: it goes back to `received` and nowhere else.
EVENT_RIGHTS = """
grant update (verdict, attempts, retry_at) on public.events to authenticated;
create policy events_replayed_by_staff on public.events for update to authenticated
  using ((select app.is_staff()) and verdict = 'failed')
  with check ((select app.is_staff()) and verdict = 'received');
"""

# Only the worker may move sessions and messages. So staff leave the question here; the worker tries the event, rolls
# back and writes the answer.
EVENT_DRY_RUNS = """
create table public.event_dry_runs (
  id uuid primary key default gen_random_uuid(),
  event_id bigint not null references public.events (id) on delete cascade,
  actor_id uuid not null,
  answer jsonb,
  asked_at timestamptz not null default clock_timestamp()
);
create index event_dry_runs_of_event on public.event_dry_runs (event_id);
create index event_dry_runs_waiting on public.event_dry_runs (asked_at) where answer is null;
comment on table public.event_dry_runs is 'what an event would change: asked by staff, answered by the worker';
"""
# The owner of the database only counts the rows, for the proof of isolation (app.tenant_tables).
EVENT_DRY_RUN_RIGHTS = """
grant select, insert (event_id, actor_id) on public.event_dry_runs to authenticated;
create policy event_dry_runs_of_staff on public.event_dry_runs for select to authenticated
  using ((select app.is_staff()) and (select auth.uid()) = actor_id);
create policy event_dry_runs_by_staff on public.event_dry_runs for insert to authenticated
  with check ((select app.is_staff()) and (select auth.uid()) = actor_id);
"""

# No reference to the message: an annotation may come before its message, and the thread joins the two.
MESSAGE_ANNOTATIONS = """
create table public.message_annotations (
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  wpp_id text not null,
  kind text not null check (kind in ('reaction', 'revoke', 'edit', 'vote', 'receipt')),
  author text not null,
  user_id uuid not null,
  value jsonb not null default '{}',
  occurred_at timestamptz not null,
  primary key (session_id, wpp_id, kind, author)
);
comment on table public.message_annotations is
  'what happened to a message later: by whom, when; the newest of each counts';
create trigger notify after insert or update on public.message_annotations
  for each row execute function app.notify_message();
"""
# People write only their own reactions, once WhatsApp has them. Staff read what others wrote by break-glass access.
MESSAGE_ANNOTATION_RIGHTS = """
grant insert, update (value, occurred_at) on public.message_annotations to authenticated;
create policy message_annotations_through_break_glass on public.message_annotations for select to authenticated
  using (user_id in (select app.list_break_glass_users('chats')));
create policy message_annotations_own_reaction on public.message_annotations for insert to authenticated
  with check ((select auth.uid()) = user_id and kind = 'reaction' and author = 'me' and exists (
    select from public.whatsapp_sessions s
     where s.id = message_annotations.session_id and s.user_id = (select auth.uid())));
create policy message_annotations_own_reaction_changed on public.message_annotations for update to authenticated
  using ((select auth.uid()) = user_id and kind = 'reaction' and author = 'me')
  with check ((select auth.uid()) = user_id and kind = 'reaction' and author = 'me');
"""

OUTAGES = """
create table public.outages (
  id uuid primary key default gen_random_uuid(),
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid not null,
  reason text not null check (reason in ('receiver', 'database', 'session', 'server', 'asked')),
  from_at timestamptz not null,
  to_at timestamptz,
  state text not null default 'waiting' check (state in ('open', 'waiting', 'reading', 'done', 'failed')),
  next_at timestamptz not null default clock_timestamp(),
  attempts integer not null default 0,
  failure text,
  listed_at timestamptz,
  chats integer not null default 0,
  recovered integer not null default 0,
  failed integer not null default 0,
  created_at timestamptz not null default clock_timestamp(),
  done_at timestamptz,
  check (to_at is not null or state = 'open')
);
create unique index outages_open on public.outages (session_id) where state = 'open';
create unique index outages_waiting on public.outages (session_id)
  where state = 'waiting' and attempts = 0 and reason <> 'asked';
create index outages_due on public.outages (next_at) where state in ('waiting', 'reading');
create index outages_newest on public.outages (created_at desc);
create index outages_of_session on public.outages (session_id);
create index outages_of_user on public.outages (user_id, created_at desc);
comment on table public.outages is 'when somebody was away, so that messages may have been missed';
comment on column public.outages.to_at is 'null while it lasts';
comment on column public.outages.next_at is 'when it is read; while it is being read, the end of the lease';
comment on column public.outages.listed_at is 'since when outage_chats says which chats are to be read';
comment on column public.outages.failed is 'chats that could not be read, which outage_chats names to their owner';

create table public.outage_chats (
  outage_id uuid not null references public.outages (id) on delete cascade,
  address text not null,
  user_id uuid not null,
  state text not null default 'waiting' check (state in ('waiting', 'done', 'failed')),
  failure text,
  recovered integer not null default 0,
  primary key (outage_id, address)
);
create index outage_chats_of_user on public.outage_chats (user_id);
comment on table public.outage_chats is 'the chats that are read back for an outage';
comment on column public.outage_chats.failure is 'code of the newest failure, or too_deep, too_many';
"""
# People may ask that a time of their own session is read back; all other outages come from triggers and the system.
OUTAGE_RIGHTS = """
grant insert (session_id, user_id, reason, from_at, to_at, listed_at, chats) on public.outages to authenticated;
create policy outages_asked_by_owner on public.outages for insert to authenticated
  with check ((select auth.uid()) = user_id and reason = 'asked' and state = 'waiting' and exists (
    select from public.whatsapp_sessions s where s.id = outages.session_id and s.user_id = (select auth.uid())));
grant insert (outage_id, address, user_id) on public.outage_chats to authenticated;
create policy outage_chats_asked_by_owner on public.outage_chats for insert to authenticated
  with check ((select auth.uid()) = user_id and exists (
    select from public.outages g
     where g.id = outage_chats.outage_id and g.user_id = (select auth.uid()) and g.reason = 'asked'));
"""

AUTOMATIONS = """
create table public.automations (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  kind text not null check (kind in ('auto_reply', 'label')),
  active boolean not null default true,
  reply text,
  time_zone text,
  hours jsonb,
  words text[],
  label text,
  created_at timestamptz not null default now(),
  check (case kind
    when 'auto_reply' then reply is not null and time_zone is not null and jsonb_typeof(hours) = 'array'
    else cardinality(words) > 0 and label is not null end)
);
create index automations_of_user on public.automations (user_id);
create unique index automations_one_auto_reply on public.automations (user_id) where kind = 'auto_reply';
comment on table public.automations is 'what a user wants done with what comes in';
comment on column public.automations.hours is
  'from Monday on, each day''s hours as ["08:00", "18:00"], or null: closed';

create table public.automation_uses (
  id bigint generated always as identity primary key,
  automation_id uuid not null references public.automations (id) on delete cascade,
  user_id uuid not null,
  contact_id uuid not null references public.contacts (id) on delete cascade,
  message_id uuid references public.messages (id) on delete set null,
  action text not null check (action in ('replied', 'labelled', 'automatic', 'opted_out', 'too_many')),
  day date not null,
  occurred_at timestamptz not null default clock_timestamp()
);
create unique index automation_uses_once_a_day on public.automation_uses (automation_id, contact_id, day, action);
create index automation_uses_of_contact on public.automation_uses (contact_id);
create index automation_uses_of_message on public.automation_uses (message_id) where message_id is not null;
create index automation_uses_of_user on public.automation_uses (user_id, id desc);
comment on table public.automation_uses is 'what automations did, without a word of what was said';
comment on column public.automation_uses.action is 'done, or why an automatic reply was withheld';
comment on column public.automation_uses.day is 'by the automation''s own time zone';
"""
AUTOMATION_RIGHTS = """
grant select, delete, insert (user_id, kind, active, reply, time_zone, hours, words, label),
  update (active, reply, time_zone, hours) on public.automations to authenticated;
create policy automations_of_owner on public.automations to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
"""

# The receiver needs this one call and no more, so it uses the login role itself, which has no rights on tables.
RECEIVER = "grant execute on function app.store_events to {system}"


def upgrade() -> None:
    execute(EVENTS)
    tenant_table("events", read_by="staff", definer="all")
    execute(EVENT_RIGHTS)
    install("store_events")
    execute(sql.SQL(RECEIVER).format(system=system_login()))

    execute(EVENT_DRY_RUNS)
    tenant_table("event_dry_runs", read_by="nobody", definer="read")
    execute(EVENT_DRY_RUN_RIGHTS)

    execute(MESSAGE_ANNOTATIONS)
    tenant_table("message_annotations")
    execute(MESSAGE_ANNOTATION_RIGHTS)
    install("search_messages")

    # Staff see that something was missed and how much came back; with whom somebody talks only the owner sees.
    execute(OUTAGES)
    tenant_table("outages", read_by="owner_or_staff", definer="all")
    tenant_table("outage_chats")
    execute(OUTAGE_RIGHTS)
    install("record_outage", "record_session_outage", "record_server_outage", "notify_outage")

    execute(AUTOMATIONS)
    tenant_table("automations", read_by="nobody")
    tenant_table("automation_uses", read_by="owner_or_staff")
    execute(AUTOMATION_RIGHTS)
