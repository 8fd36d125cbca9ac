"""Webhooks: where the owners' own systems want to hear what happens here, and each delivery to them.

A secret is kept in clear, where nobody but the worker may read it: signing needs it as it is. It proves to the owner's
system that a post is ours, and protects nothing that does not stand in clear beside it. A key to encrypt it with would
have to lie with the processes that it protects from, and a restored backup without that key could sign nothing.
"""

from migrations.ddl import execute, install, tenant_table

revision = "0011_integrations"
down_revision = "0010_reporting"
branch_labels = None
depends_on = None

TABLES = """
create table public.webhook_endpoints (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references auth.users (id) on delete cascade,
  url text not null check (length(url) between 8 and 2048),
  kinds text[] not null check (cardinality(kinds) > 0
    and kinds <@ array['message.received', 'message.state', 'session.status']),
  secret text not null check (secret like 'whsec_%'),
  previous_secret text,
  rotated_at timestamptz,
  active boolean not null default true,
  off_reason text check (off_reason in ('gone', 'failing')),
  failures integer not null default 0,
  failing_since timestamptz,
  available_at timestamptz not null default now(),
  created_at timestamptz not null default now()
);
create index webhook_endpoints_of_user on public.webhook_endpoints (user_id);
comment on column public.webhook_endpoints.user_id is
  'whose events it hears of; null: those of everybody, without texts';
comment on column public.webhook_endpoints.off_reason is 'it said 410, or it failed for days; null: turned off by hand';
comment on column public.webhook_endpoints.failures is 'in a row, counting only those where nobody was there to answer';
comment on column public.webhook_endpoints.available_at is 'nothing is tried before: grows with the failures';

create table public.webhook_deliveries (
  id uuid primary key default gen_random_uuid(),
  seq bigint generated always as identity,
  endpoint_id uuid not null references public.webhook_endpoints (id) on delete cascade,
  user_id uuid,
  kind text not null,
  message_id uuid,
  session_id uuid,
  new_state text,
  state text not null default 'waiting' check (state in ('waiting', 'sending', 'done', 'dead')),
  attempts integer not null default 0,
  next_at timestamptz not null default clock_timestamp(),
  last_status integer,
  last_error text,
  created_at timestamptz not null default clock_timestamp(),
  tried_at timestamptz,
  done_at timestamptz,
  dead_at timestamptz
);
create index webhook_deliveries_due on public.webhook_deliveries (endpoint_id, next_at)
  where state in ('waiting', 'sending');
create index webhook_deliveries_of_endpoint on public.webhook_deliveries (endpoint_id, seq desc);
create index webhook_deliveries_dead on public.webhook_deliveries (endpoint_id, seq desc) where state = 'dead';
create index webhook_deliveries_in_time on public.webhook_deliveries using brin (created_at);
comment on column public.webhook_deliveries.user_id is 'whose endpoint it is, copied from there';
comment on column public.webhook_deliveries.new_state is
  'the state that message or session came to; no other content is kept here';
comment on column public.webhook_deliveries.next_at is 'when it is due; while it is being sent, the end of the lease';
"""

# Staff read the endpoints of everybody (no owner) and admins change them; what belongs to a person is that person's.
ENDPOINT_RIGHTS = """
grant select (id, user_id, url, kinds, rotated_at, active, off_reason, failures, failing_since, available_at,
      created_at),
    insert (user_id, url, secret, kinds), update (url, secret, kinds, active, available_at), delete
  on public.webhook_endpoints to authenticated;
create policy webhook_endpoints_of_owner on public.webhook_endpoints for select to authenticated
  using ((select auth.uid()) = user_id or (user_id is null and (select app.is_staff())));
create policy webhook_endpoints_made_by_owner on public.webhook_endpoints for insert to authenticated
  with check ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin())));
create policy webhook_endpoints_changed_by_owner on public.webhook_endpoints for update to authenticated
  using ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin())))
  with check ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin())));
create policy webhook_endpoints_deleted_by_owner on public.webhook_endpoints for delete to authenticated
  using ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin())));
"""

# People ask for a test, and for a dead delivery once more; the triggers and the worker write everything else.
DELIVERY_RIGHTS = """
grant select, insert (endpoint_id, user_id, kind), update (state, attempts, next_at, dead_at)
  on public.webhook_deliveries to authenticated;
create policy webhook_deliveries_of_owner on public.webhook_deliveries for select to authenticated
  using ((select auth.uid()) = user_id or (user_id is null and (select app.is_staff())));
create policy webhook_deliveries_tested_by_owner on public.webhook_deliveries for insert to authenticated
  with check (kind = 'webhook.test' and state = 'waiting'
    and exists (select from public.webhook_endpoints e
                 where e.id = endpoint_id and e.user_id is not distinct from webhook_deliveries.user_id)
    and ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin()))));
create policy webhook_deliveries_replayed_by_owner on public.webhook_deliveries for update to authenticated
  using (state = 'dead' and ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin()))))
  with check (state = 'waiting' and ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin()))));
"""


def upgrade() -> None:
    execute(TABLES)
    # The triggers write as the owner of the database.
    tenant_table("webhook_endpoints", read_by="nobody", definer="all")
    execute(ENDPOINT_RIGHTS)
    tenant_table("webhook_deliveries", read_by="nobody", definer="all")
    execute(DELIVERY_RIGHTS)
    install("reset_changed_endpoint", "enqueue_webhook", "enqueue_message_webhook", "enqueue_session_webhook")
    install("notify_webhook")
