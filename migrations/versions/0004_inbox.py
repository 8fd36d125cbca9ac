"""`events`: every webhook delivery, stored raw before it is answered."""

from alembic import op
from psycopg import sql
from sqlalchemy.engine import make_url

from services import settings

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
comment on column public.events.session is 'proved by the URL, or named by a holder of the shared token';
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

# The receiver's one statement: a whole batch in one round trip, as one transaction, with nothing else within its reach.
# `on conflict` waits for a concurrent twin's commit, so of two deliveries exactly one is the first; the second insert
# keeps what the first left out, because another row holds its key. Arrays, one a column: a third cheaper than JSON.
STORE = """
do $$ begin
  execute 'create policy events_of_owner on public.events to current_user using (true) with check (true)';
end $$;
create function app.store_events(
  sessions text[], current_secrets boolean[], kinds text[], keys uuid[], verdicts text[], requests uuid[], bodies text[]
) returns integer
language plpgsql security definer set search_path = '' as $f$
declare fresh integer;
begin
  insert into public.events (session, current_secret, kind, dedupe_key, verdict, request_id, body)
  select * from unnest(sessions, current_secrets, kinds, keys, verdicts, requests, bodies)
  on conflict (dedupe_key) where verdict <> 'duplicate' do nothing;
  get diagnostics fresh = row_count;
  if fresh < cardinality(bodies) then
    insert into public.events (session, current_secret, kind, dedupe_key, verdict, handled_at, request_id, body)
    select s, c, k, d, 'duplicate', now(), r, b
      from unnest(sessions, current_secrets, kinds, keys, verdicts, requests, bodies) as x (s, c, k, d, v, r, b)
     where exists (select from public.events e
                    where e.dedupe_key = x.d and e.verdict <> 'duplicate' and e.request_id <> x.r);
  end if;
  perform pg_notify('inbox', '');
  return fresh;
end $f$;
revoke execute on function app.store_events from public;
grant execute on function app.store_events to {system};
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
    driver = op.get_bind().connection.driver_connection
    system = make_url(settings.get().system_database_url.get_secret_value()).username or ""
    for part in (EVENTS, HEARTBEATS):
        driver.execute(part)
    driver.execute(sql.SQL(STORE).format(system=sql.Identifier(system)))
