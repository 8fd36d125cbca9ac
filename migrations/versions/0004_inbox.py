"""`events`: every webhook delivery, stored raw before it is answered."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

EVENTS = """
create table public.events (
  id bigint generated always as identity primary key,
  received_at timestamptz not null default clock_timestamp(),
  session text,
  current_secret boolean not null default true,
  kind text not null,
  dedupe_key uuid,
  verdict text not null default 'received'
    check (verdict in ('received', 'handled', 'duplicate', 'unsupported', 'failed', 'invalid')),
  attempts integer not null default 0,
  retry_at timestamptz,
  error text,
  handled_at timestamptz,
  request_id uuid not null,
  body text not null
);
create unique index events_once on public.events (dedupe_key) where verdict <> 'duplicate';
create index events_waiting on public.events (id) where verdict = 'received';
comment on column public.events.session is 'the session that the URL proved, or that a holder of the shared token named';
comment on column public.events.current_secret is 'false when the URL was that of an earlier pairing attempt';
comment on column public.events.body is 'as it came; text, because jsonb refuses \\u0000 and reorders keys';

alter table public.events enable row level security;
alter table public.events force row level security;
revoke all on public.events from public, anon, authenticated;
grant select on public.events to authenticated;
grant select, insert, update, delete on public.events to service_role;
create policy events_of_staff on public.events for select to authenticated using ((select app.is_staff()));
create policy events_of_system on public.events to service_role using (true) with check (true);
"""


HEARTBEATS = """
create table public.heartbeats (
  process text not null,
  instance text not null,
  at timestamptz not null default now(),
  primary key (process, instance)
);
alter table public.heartbeats enable row level security;
alter table public.heartbeats force row level security;
revoke all on public.heartbeats from public, anon, authenticated;
grant select on public.heartbeats to authenticated;
grant select, insert, update, delete on public.heartbeats to service_role;
create policy heartbeats_of_staff on public.heartbeats for select to authenticated using ((select app.is_staff()));
create policy heartbeats_of_system on public.heartbeats to service_role using (true) with check (true);
"""


def upgrade() -> None:
    for part in (EVENTS, HEARTBEATS):
        op.get_bind().connection.driver_connection.execute(part)
