"""`messages` in and out, and the acknowledgements that came before their message was known."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MESSAGES = """
create table public.messages (
  id uuid primary key default gen_random_uuid(),
  seq bigint generated always as identity,
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid not null,
  direction text not null check (direction in ('out', 'in')),
  state text not null check (state in ('queued', 'sending', 'accepted', 'sent', 'delivered', 'read', 'failed',
    'uncertain', 'received')),
  phone text not null,
  address text,
  contact_name text,
  kind text not null default 'chat',
  body text not null default '',
  idempotency_key text,
  wpp_id text,
  ack smallint not null default 0,
  attempts integer not null default 0,
  failure text,
  request_id text,
  run_at timestamptz not null default now(),
  created_at timestamptz not null default now(),
  sending_at timestamptz,
  accepted_at timestamptz,
  sent_at timestamptz,
  delivered_at timestamptz,
  read_at timestamptz,
  ended_at timestamptz,
  reconcile_at timestamptz,
  reconciliations integer not null default 0,
  updated_at timestamptz not null default now()
);
create unique index messages_idempotency on public.messages (user_id, idempotency_key)
  where idempotency_key is not null;
create unique index messages_wpp_id on public.messages (session_id, wpp_id) where wpp_id is not null;
create index messages_waiting on public.messages (session_id, run_at, seq) where state = 'queued';
create index messages_in_flight on public.messages (session_id) where state = 'sending';
create index messages_unsettled on public.messages (reconcile_at)
  where state = 'uncertain' and reconcile_at is not null;
create index messages_of_user on public.messages (user_id, seq desc);

create table public.parked_acks (
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  wpp_id text not null,
  ack smallint not null,
  at timestamptz not null default now(),
  primary key (session_id, wpp_id)
);
create index parked_acks_at on public.parked_acks (at);
"""

# People queue and read their own messages; only the worker moves a state. Staff have no way in here: reading a user's
# chat needs a reason and has its own door.
ISOLATION = """
alter table public.messages enable row level security;
alter table public.messages force row level security;
revoke all on public.messages from public, anon, authenticated;
grant select on public.messages to authenticated;
grant insert (session_id, user_id, direction, state, phone, contact_name, body, idempotency_key, request_id, run_at)
  on public.messages to authenticated;
grant select, insert, update, delete on public.messages to service_role;
create policy messages_of_owner on public.messages for select to authenticated
  using ((select auth.uid()) = user_id);
create policy messages_queued_by_owner on public.messages for insert to authenticated
  with check ((select auth.uid()) = user_id and direction = 'out' and state = 'queued' and exists (
    select from public.whatsapp_sessions s where s.id = messages.session_id and s.user_id = (select auth.uid())));
create policy messages_of_system on public.messages to service_role using (true) with check (true);

alter table public.parked_acks enable row level security;
alter table public.parked_acks force row level security;
revoke all on public.parked_acks from public, anon, authenticated;
grant select, insert, update, delete on public.parked_acks to service_role;
create policy parked_acks_of_system on public.parked_acks to service_role using (true) with check (true);
"""

BELL = """
create function app.ring_message() returns trigger language plpgsql as $f$
begin
  perform pg_notify('live', 'message:' || new.user_id);
  return null;
end $f$;
create trigger ring after insert or update of state on public.messages
  for each row execute function app.ring_message();
"""


def upgrade() -> None:
    for part in (MESSAGES, ISOLATION, BELL):
        op.get_bind().connection.driver_connection.execute(part)
