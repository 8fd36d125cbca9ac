"""Counters of the rate limits, shared by all processes."""

from alembic import op
from psycopg import sql
from sqlalchemy.engine import make_url

from services import settings

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Unlogged: what a crash forgets is a window of some minutes, and a counter shall not wait for the disk.
TABLE = """
create unlogged table public.rate_limits (
  key bytea primary key,
  hits integer not null,
  expires_at timestamptz not null
);
create index rate_limits_expiry on public.rate_limits (expires_at);
comment on column public.rate_limits.key is 'sha256: who was counted cannot be read from here';
alter table public.rate_limits enable row level security;
alter table public.rate_limits force row level security;
revoke all on public.rate_limits from public, anon, authenticated, service_role;
grant select, delete on public.rate_limits to service_role;
create policy rate_limits_of_system on public.rate_limits to service_role using (true) with check (true);
do $$ begin
  execute 'create policy rate_limits_of_owner on public.rate_limits to current_user using (true) with check (true)';
end $$;
"""

# Reaching a limit is a security event, once a window however many processes reach it.
FUNCTIONS = """
create function app.count_hits(wanted bytea, seconds integer, amount integer, most integer, door text, who text)
returns table (counted integer, until timestamptz)
language plpgsql volatile security definer set search_path = '' as $f$
begin
  -- Lost by a crash it is only a count; waiting for the disk it would slow every door.
  perform set_config('synchronous_commit', 'off', true);
  insert into public.rate_limits as r (key, hits, expires_at)
  values (wanted, amount, clock_timestamp() + make_interval(secs => seconds))
  on conflict (key) do update set
    hits = case when r.expires_at <= clock_timestamp() then amount else r.hits + amount end,
    expires_at = case when r.expires_at <= clock_timestamp() then excluded.expires_at else r.expires_at end
  returning hits, expires_at into counted, until;
  if counted > most and counted - amount <= most then
    insert into public.security_events (kind, subject, ip) values ('rate_limited', door, who);
  end if;
  return next;
end $f$;
revoke execute on function app.count_hits(bytea, integer, integer, integer, text, text) from public;
grant execute on function app.count_hits(bytea, integer, integer, integer, text, text) to {console};
"""


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    console = make_url(settings.get().console_database_url.get_secret_value()).username or ""
    driver.execute(TABLE)
    driver.execute(sql.SQL(FUNCTIONS).format(console=sql.Identifier(console)))
