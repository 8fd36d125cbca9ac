"""The receiver's log for staff: look at events, try one out, send failed ones round again."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

# All partial, so that the receiver's insert pays for none of them: a row enters when the worker has handled it, and
# what still waits is found by `events_waiting`. `events_done` is made anew to hold every verdict but that one.
INDEXES = """
drop index public.events_done;
create index events_done on public.events (received_at) where verdict <> 'received';
create index events_of_kind on public.events (kind, id) where verdict <> 'received';
create index events_of_verdict on public.events (verdict, id)
  where verdict in ('duplicate', 'unsupported', 'failed', 'invalid');
"""

# A failed event goes back to `received` and nowhere else, by staff and nobody else.
REPLAY = """
grant update (verdict, attempts, retry_at) on public.events to authenticated;
create policy events_replayed_by_staff on public.events for update to authenticated
  using ((select app.is_staff()) and verdict = 'failed')
  with check ((select app.is_staff()) and verdict = 'received');
"""

# Staff ask what an event would change; the worker, which alone may move sessions and messages, tries it and answers.
TRIALS = """
create table public.event_trials (
  id uuid primary key default gen_random_uuid(),
  event_id bigint not null references public.events (id) on delete cascade,
  actor_id uuid not null,
  asked_at timestamptz not null default clock_timestamp(),
  answer jsonb
);
create index event_trials_waiting on public.event_trials (asked_at) where answer is null;
create index event_trials_of_event on public.event_trials (event_id);
alter table public.event_trials enable row level security;
alter table public.event_trials force row level security;
revoke all on public.event_trials from public, anon, authenticated;
grant select, insert (event_id, actor_id) on public.event_trials to authenticated;
grant select, insert, update, delete on public.event_trials to service_role;
create policy event_trials_of_staff on public.event_trials for select to authenticated
  using ((select app.is_staff()) and (select auth.uid()) = actor_id);
create policy event_trials_by_staff on public.event_trials for insert to authenticated
  with check ((select app.is_staff()) and (select auth.uid()) = actor_id);
create policy event_trials_of_system on public.event_trials to service_role using (true) with check (true);
"""


def upgrade() -> None:
    for part in (INDEXES, REPLAY, TRIALS):
        op.get_bind().connection.driver_connection.execute(part)
