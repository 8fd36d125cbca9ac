"""What every process needs: rate limits, signs of life, metrics, and the list of stored files."""

from psycopg import sql

from migrations.ddl import console_login, execute, install, tenant_table

revision = "0002_platform"
down_revision = "0001_foundation"
branch_labels = None
depends_on = None

# All processes share these counters. Unlogged: what a crash loses is a window of some minutes, and a counter shall not
# wait for the disk.
RATE_LIMITS = """
create unlogged table public.rate_limits (
  key bytea primary key,
  hits integer not null,
  expires_at timestamptz not null
);
create index rate_limits_expiry on public.rate_limits (expires_at);
comment on column public.rate_limits.key is 'sha256: who was counted cannot be read from here';
"""

PROCESSES = """
create table public.heartbeats (
  process text not null,
  instance text not null,
  beat_at timestamptz not null default now(),
  primary key (process, instance)
);

create table public.process_metrics (
  process text not null,
  instance text not null,
  samples jsonb not null,
  sampled_at timestamptz not null default clock_timestamp(),
  primary key (process, instance)
);
comment on table public.process_metrics is 'what each process counts, for whoever scrapes; no row of it names anybody';
"""

# The bytes lie in the media store, under their owner and their hash; here is only what there is.
MEDIA = """
create table public.media (
  user_id uuid not null references auth.users (id) on delete cascade,
  sha256 bytea not null check (length(sha256) = 32),
  mimetype text not null check (length(mimetype) between 3 and 200),
  size bigint not null check (size > 0),
  created_at timestamptz not null default now(),
  primary key (user_id, sha256)
);
create index media_of_user on public.media (user_id, created_at desc, sha256 desc);
create index media_kept_at on public.media (created_at);
comment on table public.media is 'one row and one file for each content of each user, however many messages carry it';
"""

# A file that nothing carries goes in two steps, so that no transaction waits for the store that deletes it. The first
# step moves its row from `media` to here, so that nothing new can carry the file; the second removes it here. Between
# the two, whoever holds the lease deletes the file. Nobody has rights here but the functions that do this.
MEDIA_DELETING = """
create table app.media_deleting (
  user_id uuid not null,
  sha256 bytea not null,
  lease_until timestamptz not null,
  primary key (user_id, sha256)
);
comment on table app.media_deleting is 'contents whose rows are gone and whose files are being deleted';
"""

# Keeping the same content again makes it young again: whoever has just chosen a file may still send it.
MEDIA_RIGHTS = """
grant insert (user_id, sha256, mimetype, size), update (created_at) on public.media to authenticated;
create policy media_kept_by_owner on public.media for insert to authenticated
  with check ((select auth.uid()) = user_id);
create policy media_kept_again_by_owner on public.media for update to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
"""

CONSOLE_RIGHTS = "grant execute on function app.count_hits, app.record_metrics to {console}"


def upgrade() -> None:
    execute(RATE_LIMITS)
    tenant_table("rate_limits", read_by="nobody", system="select, delete", definer="all")
    execute(PROCESSES)
    tenant_table("heartbeats", read_by="staff", definer="all")
    tenant_table("process_metrics", read_by="nobody", definer="all")
    execute(MEDIA)
    execute(MEDIA_DELETING)
    tenant_table("media", definer="all")
    execute(MEDIA_RIGHTS)
    install("count_hits", "record_metrics", "refuse_media_deleting", "delete_media")
    execute(sql.SQL(CONSOLE_RIGHTS).format(console=console_login()))
