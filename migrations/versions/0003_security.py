"""The audit log as a chain of hashes, security events that nobody changes, and break-glass grants.

With such a grant, staff look for a while at what is a user's own.
"""

from migrations.ddl import execute, install, tenant_table

revision = "0003_security"
down_revision = "0002_platform"
branch_labels = None
depends_on = None

# A row's hash covers the row and the hash before it: whoever changes, removes or slips in a row breaks every row after
# it. The head, one row that the same trigger moves, shows when the newest rows are missing. All of it lives in a
# trigger, so that no code can forget it. Whoever owns the database can rebuild a whole chain, but not one whose head
# somebody wrote down elsewhere before. The first record follows 32 zeros.
# Indexes: newest first, whatever is filtered by.
AUDIT = """
create table public.audit_log (
  id bigint generated always as identity primary key,
  actor_id uuid,
  actor_role text not null,
  action text not null,
  subject text,
  detail jsonb not null default '{}',
  request_id text,
  occurred_at timestamptz not null default clock_timestamp(),
  seq bigint not null,
  prev_hash bytea not null,
  hash bytea not null
);
create unique index audit_log_seq on public.audit_log (seq);
create index audit_log_at on public.audit_log (occurred_at desc, seq desc);
create index audit_log_actor on public.audit_log (actor_id, occurred_at desc, seq desc);
create index audit_log_action on public.audit_log (action, occurred_at desc, seq desc);
create index audit_log_subject on public.audit_log (subject, occurred_at desc, seq desc);
comment on column public.audit_log.seq is 'place in the chain, from 1 without a gap, in the order of commits';

create table public.audit_head (
  only_row boolean primary key default true check (only_row),
  seq bigint not null,
  hash bytea not null
);
comment on table public.audit_head is 'the newest record of audit_log, moved by its trigger: shows a missing end';
insert into public.audit_head (seq, hash) values (0, decode(repeat('00', 32), 'hex'));
"""

# Append-only, but not chained: security events come by their thousands while somebody hammers at a door, and before
# anybody is known. In one chain they would all wait for each other, and a sign-in for an attack.
# `security_events_once`: a page that somebody is refused is one event a minute, not one a click.
SECURITY_EVENTS = """
create table public.security_events (
  id bigint generated always as identity primary key,
  kind text not null,
  subject text,
  actor_id uuid,
  ip text,
  detail jsonb not null default '{}',
  request_id text,
  occurred_at timestamptz not null default clock_timestamp()
);
create index security_events_at on public.security_events (occurred_at desc, id desc);
create index security_events_kind on public.security_events (kind, occurred_at desc, id desc);
create index security_events_subject on public.security_events (subject, occurred_at desc, id desc);
create index security_events_actor on public.security_events (actor_id, occurred_at desc, id desc);
create index security_events_refused on public.security_events (subject, occurred_at) where kind = 'webhook_refused';
create unique index security_events_once on public.security_events
  (kind, actor_id, subject, date_trunc('minute', occurred_at at time zone 'UTC'))
  where kind in ('page_refused', 'cross_tenant');
comment on table public.security_events is 'never holds a secret, not even a wrong one';
"""

# No foreign keys: the record outlives whom it names, as the audit log does.
BREAK_GLASS = """
create table public.break_glass_grants (
  id uuid primary key default gen_random_uuid(),
  actor_id uuid not null,
  user_id uuid not null,
  scope text not null check (scope in ('qr', 'chats')),
  reason text not null check (length(btrim(reason)) between 10 and 500),
  started_at timestamptz not null default now(),
  expires_at timestamptz not null,
  ended_at timestamptz,
  constraint break_glass_grants_at_most_an_hour
    check (expires_at > started_at and expires_at <= started_at + interval '60 minutes')
);
create index break_glass_grants_active on public.break_glass_grants (actor_id, user_id, scope, expires_at desc)
  where ended_at is null;
comment on table public.break_glass_grants is
  'staff who look at what is a user''s own: why, and until when; it ends by time';
"""

# People and the system name what they did, never when, nor the place in the chain. A person can only write as
# themselves; in the audit log, the system only as nobody.
RIGHTS = """
grant insert (actor_id, actor_role, action, subject, detail, request_id) on public.audit_log
  to authenticated, service_role;
create policy audit_log_by_actor on public.audit_log for insert to authenticated
  with check ((select auth.uid()) = actor_id and actor_role = (select app.claimed_role()));
alter policy audit_log_of_system on public.audit_log with check (actor_id is null);

grant insert (kind, subject, actor_id, ip, detail, request_id) on public.security_events
  to authenticated, service_role;
create policy security_events_by_actor on public.security_events for insert to authenticated
  with check ((select auth.uid()) = actor_id);

grant insert (actor_id, user_id, scope, reason, expires_at), update (ended_at) on public.break_glass_grants
  to authenticated;
create policy break_glass_grants_for_its_user on public.break_glass_grants for select to authenticated
  using ((select auth.uid()) = user_id);
create policy break_glass_grants_by_staff on public.break_glass_grants for insert to authenticated
  with check ((select app.is_staff()) and (select auth.uid()) = actor_id);
create policy break_glass_grants_mended_by_actor on public.break_glass_grants for update to authenticated
  using ((select app.is_staff()) and (select auth.uid()) = actor_id)
  with check ((select app.is_staff()) and (select auth.uid()) = actor_id);
"""

THROUGH_BREAK_GLASS = """
create policy media_through_break_glass on public.media for select to authenticated
  using (user_id in (select app.list_break_glass_users('chats')));
"""


def upgrade() -> None:
    execute(AUDIT)
    execute(SECURITY_EVENTS)
    execute(BREAK_GLASS)
    for table in ("audit_log", "audit_head", "security_events", "break_glass_grants"):
        tenant_table(table, read_by="staff", system="select", definer="all")
    execute(RIGHTS)
    install("refuse_change", "audit_digest", "chain_audit", "allow_only_ending")
    install("has_break_glass", "list_break_glass_users", "tenant_tables")
    execute(THROUGH_BREAK_GLASS)
