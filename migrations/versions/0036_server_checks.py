"""`server_checks`: what came of holding a WPPConnect server against the contract, the newest of each version."""

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

TABLE = """
create table public.server_checks (
  id bigint generated always as identity primary key,
  url text not null references public.wpp_servers (url) on delete cascade,
  started_at timestamptz not null default now(),
  done smallint not null default 0 check (done >= 0),
  steps smallint not null check (steps > 0),
  finished_at timestamptz,
  version text,
  error text,
  facts jsonb not null default '[]'
);
comment on column public.server_checks.done is 'how many of its steps are known';
comment on column public.server_checks.finished_at is 'null: it runs, or was cut off';
comment on column public.server_checks.version is 'null: the server told none';
comment on column public.server_checks.error is 'code of what kept it from being looked at';
comment on column public.server_checks.facts is 'name, outcome, expected, answered of each fact: types and known words';

create unique index server_checks_running on public.server_checks (url) where finished_at is null;
create unique index server_checks_of_version on public.server_checks (url, coalesce(version, ''))
  where finished_at is not null;
"""

# Staff read; an admin asks for a check, and it is written as who asked, or by the worker.
ISOLATION = """
alter table public.server_checks enable row level security;
alter table public.server_checks force row level security;
revoke all on public.server_checks from public, anon, authenticated, service_role;
do $$ begin
  execute format('revoke all on sequence %s from public, anon, authenticated',
    pg_get_serial_sequence('public.server_checks', 'id'));
end $$;
grant select, insert, update, delete on public.server_checks to authenticated, service_role;
create policy server_checks_of_staff on public.server_checks for select to authenticated
  using ((select app.is_staff()));
create policy server_checks_by_admin on public.server_checks to authenticated
  using ((select app.is_admin())) with check ((select app.is_admin()));
create policy server_checks_of_system on public.server_checks to service_role using (true) with check (true);
"""


def upgrade() -> None:
    for part in (TABLE, ISOLATION):
        op.get_bind().connection.driver_connection.execute(part)
