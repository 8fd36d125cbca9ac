"""Takes back what PostgreSQL gives to everybody, and Supabase to its API roles, without being asked."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# A new function may be executed by PUBLIC; migration 0002 took that back only from those that stood then.
FUNCTIONS = "revoke execute on all functions in schema app from public"

# Supabase's default privileges give anon and authenticated every right on whatever appears in `public`: with setval on
# the sequence of a key, anybody who holds the public API key could stop all inserts.
SEQUENCES = """
do $$
declare ours text;
begin
  foreach ours in array array['sign_in_attempts.id', 'security_events.id', 'audit_log.id', 'events.id', 'messages.seq']
  loop
    execute format('revoke all on sequence %s from public, anon, authenticated', pg_get_serial_sequence(
      'public.' || split_part(ours, '.', 1), split_part(ours, '.', 2)));
  end loop;
end $$
"""

# Not forced: the owner keeps this list, and has no policy here. The API roles would else read and rewrite it.
VERSIONS = """
alter table public.alembic_version enable row level security;
revoke all on public.alembic_version from public, anon, authenticated, service_role;
"""


def upgrade() -> None:
    for part in (FUNCTIONS, SEQUENCES, VERSIONS):
        op.get_bind().connection.driver_connection.execute(part)
