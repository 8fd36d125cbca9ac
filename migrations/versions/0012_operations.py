"""The worker's jobs, what may be deleted and how it goes, the facts of diagnosis; takes the last rights from everybody.

Each kind of row that expires is one view of what may go and since when. Counting and deleting both read it, so that a
preview and a run mean the same rows. Both are functions of the owner of the database: staff may count rows that they
may not read (messages, sign-in attempts), and the worker needs no right to delete beyond what these functions delete.
"""

from procrastinate.schema import SchemaManager

from migrations.ddl import execute, install, tenant_table

revision = "0012_operations"
down_revision = "0011_integrations"
branch_labels = None
depends_on = None

# procrastinate's own SQL names no schema: it goes where the search path points.
JOBS_BEGIN = """
create schema jobs;
set local search_path = jobs;
"""
# A schema of its own, which only the worker reaches.
JOBS_END = """
set local search_path to default;
grant usage on schema jobs to service_role;
grant select, insert, update, delete on all tables in schema jobs to service_role;
grant usage, select on all sequences in schema jobs to service_role;
grant execute on all functions in schema jobs to service_role;
"""

RUNS = """
create table public.cleanup_runs (
  id bigint generated always as identity primary key,
  actor_id uuid,
  kinds text[] not null check (kinds <@ array['codes', 'sessions', 'events', 'pending_acks', 'heartbeats',
    'sign_in_attempts', 'signed_out', 'security_events', 'timeline', 'jobs', 'media', 'runs']),
  expected jsonb not null default '{}',
  counts jsonb not null default '{}',
  postponed integer not null default 0,
  error text,
  created_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  finished_at timestamptz
);
create unique index cleanup_runs_one on public.cleanup_runs ((true)) where finished_at is null;
create index cleanup_runs_finished on public.cleanup_runs (finished_at) where finished_at is not null;
comment on column public.cleanup_runs.actor_id is 'null: the hourly clean-up';
comment on column public.cleanup_runs.expected is 'kind → how many rows had expired when the run was asked for';
comment on column public.cleanup_runs.counts is 'kind → how many went, written with each batch';
"""
# Admins may ask for a run, and staff watch it; only the worker writes down what became of it.
RUN_RIGHTS = """
grant insert (actor_id, kinds, expected) on public.cleanup_runs to authenticated;
create policy cleanup_runs_by_admin on public.cleanup_runs for insert to authenticated
  with check ((select app.is_admin()) and (select auth.uid()) = actor_id);
"""

# Supabase's default privileges give anon and authenticated every right on whatever appears in `public`. With `setval`
# on the sequence of a key, anybody who holds the public API key could stop all inserts. An insert needs no right on the
# sequence of an identity column.
SEQUENCES = "revoke all on all sequences in schema public from public, anon, authenticated"

# PostgreSQL lets everybody execute a new function. Each file takes that back; this does it for one that forgot.
FUNCTIONS = "revoke execute on all functions in schema app from public"


def upgrade() -> None:
    execute(JOBS_BEGIN)
    execute(SchemaManager.get_schema())
    execute(JOBS_END)

    execute(RUNS)
    tenant_table("cleanup_runs", read_by="staff", definer="all")
    execute(RUN_RIGHTS)
    install("notify_cleanup")

    # `since` is the moment from which the retention of a row counts.
    install("expired_codes", "expired_sessions", "expired_events", "expired_pending_acks", "expired_heartbeats")
    install("expired_sign_in_attempts", "expired_signed_out", "expired_security_events", "expired_timeline")
    install("expired_jobs", "expired_media", "expired_runs")

    install("is_session_expired", "count_expired", "purge_security_events", "purge_expired", "claim_media")
    install("claim_expired_session", "finish_expired_session", "release_expired_session")
    install("get_session_facts", "get_message_facts", "list_message_acks")

    execute(SEQUENCES)
    execute(FUNCTIONS)
