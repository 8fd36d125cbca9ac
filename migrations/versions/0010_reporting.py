"""Figures of the messages by quarter hour, and which of them must be counted anew."""

from migrations.ddl import execute, install, tenant_table

revision = "0010_reporting"
down_revision = "0009_outreach"
branch_labels = None
depends_on = None

# Quarter hours, because in every time zone of today hours and days begin on one: any period of any zone is a sum.
# A day (UTC) sums up one person's quarters for the ranking. A row without a person sums up everybody's.
TABLES = """
create table public.report_buckets (
  span text not null check (span in ('quarter', 'day')),
  user_id uuid references auth.users (id) on delete cascade,
  starts_at timestamptz not null,
  direction text not null check (direction in ('out', 'in')),
  template_id uuid,
  campaign_id uuid,
  failure text,
  total integer not null,
  waiting integer not null,
  sent integer not null,
  delivered integer not null,
  read integer not null,
  failed integer not null,
  uncertain integer not null,
  opt_outs integer not null,
  delivery_count integer not null,
  delivery_ms bigint not null,
  reading_count integer not null,
  reading_ms bigint not null,
  response_count integer not null,
  response_ms bigint not null,
  constraint report_buckets_one unique nulls not distinct
    (span, user_id, starts_at, direction, template_id, campaign_id, failure)
);
create index report_buckets_in_time on public.report_buckets (span, starts_at);
comment on table public.report_buckets is 'what the messages come to, by when they were to leave; made from them alone';
comment on column public.report_buckets.user_id is 'null: everybody';
comment on column public.report_buckets.sent is 'those that reached delivered and read included';

create table public.report_times (
  user_id uuid references auth.users (id) on delete cascade,
  starts_at timestamptz not null,
  measure text not null check (measure in ('delivery', 'reading', 'response')),
  band smallint not null,
  messages integer not null,
  constraint report_times_one unique nulls not distinct (user_id, starts_at, measure, band)
);
create index report_times_in_time on public.report_times (starts_at);
comment on column public.report_times.band is
  'a time of at most 2 ^ (band / 2) seconds, and longer than the band below it: two bands each time it doubles';
"""

# Rows are appended, and one quarter may stand here many times: with one row for each quarter, transactions would wait
# for each other, and in a circle where they note several.
DIRTY_BUCKETS = """
create table public.report_dirty_buckets (
  id bigint generated always as identity primary key,
  user_id uuid not null,
  quarter timestamptz not null,
  phone text,
  created_at timestamptz not null default clock_timestamp()
);
comment on table public.report_dirty_buckets is
  'quarters whose figures are no longer those of the messages, as often as noted';
comment on column public.report_dirty_buckets.phone is
  'the chat that changed: an answer after it may take another time now';
"""


def upgrade() -> None:
    execute(TABLES)
    execute(DIRTY_BUCKETS)
    # People read figures, never the texts behind them; only the worker writes them.
    tenant_table("report_buckets", read_by="owner_or_staff")
    tenant_table("report_times", read_by="owner_or_staff")
    tenant_table("report_dirty_buckets", read_by="nobody", definer="all")
    install("get_quarter", "mark_new_messages", "mark_moved_message", "mark_opt_outs")
