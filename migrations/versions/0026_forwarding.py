"""`endpoints` and `deliveries`: what happens here, told to the owners' own systems.

A secret is kept in clear, where nobody but the worker may read it: signing needs it as it is. It proves to the owner's
system that a post is ours, and protects nothing that does not stand in clear beside it; a key to encrypt it with would
have to lie with the processes that are to be protected from, and a restored backup without that key would be silent.
"""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

TABLES = """
create table public.endpoints (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references auth.users (id) on delete cascade,
  url text not null check (length(url) between 8 and 2048),
  secret text not null check (secret like 'whsec_%'),
  previous_secret text,
  rotated_at timestamptz,
  kinds text[] not null check (cardinality(kinds) > 0
    and kinds <@ array['message.received', 'message.state', 'session.status']),
  active boolean not null default true,
  off_reason text check (off_reason in ('gone', 'failing')),
  failures integer not null default 0,
  failing_since timestamptz,
  free_at timestamptz not null default now(),
  created_at timestamptz not null default now()
);
create index endpoints_of_user on public.endpoints (user_id);
comment on column public.endpoints.user_id is 'whose events it hears of; null: those of everybody, without texts';
comment on column public.endpoints.off_reason is 'it said 410, or it failed for days; null: turned off by hand';
comment on column public.endpoints.failures is 'in a row, counting only those where nobody was there to answer';
comment on column public.endpoints.free_at is 'nothing is tried before: grows with the failures';

create table public.deliveries (
  id uuid primary key default gen_random_uuid(),
  seq bigint generated always as identity,
  endpoint_id uuid not null references public.endpoints (id) on delete cascade,
  user_id uuid,
  kind text not null,
  what text,
  message_id uuid,
  session_id uuid,
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
create index deliveries_due on public.deliveries (endpoint_id, next_at) where state in ('waiting', 'sending');
create index deliveries_of_endpoint on public.deliveries (endpoint_id, seq desc);
create index deliveries_dead on public.deliveries (endpoint_id, seq desc) where state = 'dead';
create index deliveries_in_time on public.deliveries using brin (created_at);
comment on column public.deliveries.user_id is 'whose endpoint it is, copied from there';
comment on column public.deliveries.what is 'the state that message or session came to; no other content is kept here';
comment on column public.deliveries.next_at is 'when it is due; while it is being sent, the end of the lease';
"""

ISOLATION = """
do $$
declare t text;
begin
  foreach t in array array['endpoints', 'deliveries'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('alter table public.%I force row level security', t);
    execute format('revoke all on public.%I from public, anon, authenticated, service_role', t);
    execute format('grant select, insert, update, delete on public.%I to service_role', t);
    execute format('create policy %I on public.%I to service_role using (true) with check (true)',
      t || '_of_system', t);
    -- Row level security binds the owner too, as whom the triggers run.
    execute format('create policy %I on public.%I to current_user using (true) with check (true)', t || '_enqueued', t);
    execute format('create policy %I on public.%I for select to authenticated
      using ((select auth.uid()) = user_id or (user_id is null and (select app.is_staff())))', t || '_of_owner', t);
  end loop;
  execute format('revoke all on sequence %s from public, anon, authenticated',
    pg_get_serial_sequence('public.deliveries', 'seq'));
end $$;

grant select (id, user_id, url, rotated_at, kinds, active, off_reason, failures, failing_since, free_at, created_at)
  on public.endpoints to authenticated;
grant insert (user_id, url, secret, kinds), update (url, secret, kinds, active, free_at), delete
  on public.endpoints to authenticated;
create policy endpoints_made_by_owner on public.endpoints for insert to authenticated
  with check ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin())));
create policy endpoints_changed_by_owner on public.endpoints for update to authenticated
  using ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin())))
  with check ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin())));
create policy endpoints_deleted_by_owner on public.endpoints for delete to authenticated
  using ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin())));

-- People ask for a test and for a dead letter once more; all else the triggers and the worker write.
grant select on public.deliveries to authenticated;
grant insert (endpoint_id, user_id, kind), update (state, attempts, next_at, dead_at)
  on public.deliveries to authenticated;
create policy deliveries_tested_by_owner on public.deliveries for insert to authenticated
  with check (kind = 'webhook.test' and state = 'waiting' and exists (
    select from public.endpoints e where e.id = endpoint_id and e.user_id is not distinct from deliveries.user_id)
    and ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin()))));
create policy deliveries_replayed_by_owner on public.deliveries for update to authenticated
  using (state = 'dead' and ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin()))))
  with check (state = 'waiting' and ((select auth.uid()) = user_id or (user_id is null and (select app.is_admin()))));
"""

# A secret that is replaced stays good for a while, so that nothing is refused between the change here and over there.
# Whoever corrects an address or turns an endpoint on again gets a fresh start.
CHANGES = """
create function app.endpoint_changed() returns trigger language plpgsql set search_path = '' as $f$
begin
  if new.secret is distinct from old.secret then
    new.previous_secret := old.secret;
    new.rotated_at := clock_timestamp();
  end if;
  if (new.active and not old.active) or new.url is distinct from old.url then
    new.failures := 0;
    new.failing_since := null;
    new.off_reason := null;
    new.free_at := clock_timestamp();
  end if;
  return new;
end $f$;
revoke execute on function app.endpoint_changed() from public;
create trigger changed before update of url, secret, active on public.endpoints
  for each row execute function app.endpoint_changed();
"""

# Written by the rows themselves, in the transaction that changes them: no way of changing them can forget it, and what
# is rolled back was never told.
EVENTS = """
create function app.forward(owner uuid, event text, came_to text, message uuid, session uuid) returns void
language plpgsql volatile security definer set search_path = '' as $f$
begin
  insert into public.deliveries (endpoint_id, user_id, kind, what, message_id, session_id)
    select e.id, e.user_id, event, came_to, message, session from public.endpoints e
     where e.active and event = any(e.kinds) and (e.user_id = owner or e.user_id is null);
end $f$;

create function app.forward_message() returns trigger language plpgsql security definer set search_path = '' as $f$
begin
  perform app.forward(new.user_id, case new.direction when 'in' then 'message.received' else 'message.state' end,
    new.state, new.id, new.session_id);
  return null;
end $f$;
create trigger forward_received after insert on public.messages for each row when (new.direction = 'in')
  execute function app.forward_message();
create trigger forward_state after update of state on public.messages for each row
  when (new.direction = 'out' and new.state is distinct from old.state
        and new.state in ('sent', 'delivered', 'read', 'failed', 'uncertain'))
  execute function app.forward_message();

create function app.forward_session() returns trigger language plpgsql security definer set search_path = '' as $f$
begin
  perform app.forward(new.user_id, 'session.status', new.status, null, new.id);
  return null;
end $f$;
create trigger forward_begun after insert on public.whatsapp_sessions for each row
  execute function app.forward_session();
create trigger forward_status after update of status on public.whatsapp_sessions for each row
  when (new.status is distinct from old.status) execute function app.forward_session();

create function app.ring_forward() returns trigger language plpgsql set search_path = '' as $f$
begin
  if new.state = 'waiting' then
    perform pg_notify('forward', '');
  end if;
  perform pg_notify('live', 'forward:' || coalesce(new.user_id::text, ''));
  return null;
end $f$;
create trigger ring after insert or update of state on public.deliveries
  for each row execute function app.ring_forward();

revoke execute on function app.forward(uuid, text, text, uuid, uuid), app.forward_message(), app.forward_session(),
  app.ring_forward() from public;
"""


def upgrade() -> None:
    for part in (TABLES, ISOLATION, CHANGES, EVENTS):
        op.get_bind().connection.driver_connection.execute(part)
