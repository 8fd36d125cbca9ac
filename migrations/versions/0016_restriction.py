"""What WhatsApp's refusals of new conversations tell of a number, and who counts as somebody who wrote."""

from migrations.ddl import execute, install, tenant_table

revision = "0016_restriction"
down_revision = "0015_own_number"
branch_labels = None
depends_on = None

# Columns with constant defaults are added without rewriting their tables.
COLUMNS = """
alter table public.messages add column cold boolean not null default false;
comment on column public.messages.cold is 'a campaign''s message to somebody who does not know the sender';
grant insert (cold) on public.messages to authenticated;

alter table public.campaign_recipients
  add column retries smallint not null default 0,
  add column refused_message_id uuid references public.messages (id) on delete set null;
comment on column public.campaign_recipients.retries is 'how often they wait again because WhatsApp refused strangers';
comment on column public.campaign_recipients.refused_message_id is
  'the message that WhatsApp refused; should it arrive all the same, nobody writes again';
create index campaign_recipients_refused on public.campaign_recipients (refused_message_id)
  where refused_message_id is not null;
drop index public.campaign_recipients_waiting;
create index campaign_recipients_waiting on public.campaign_recipients (campaign_id, cold, retries, seq)
  where state = 'waiting';

alter table public.campaign_lanes
  add column refusals smallint not null default 0,
  add column refused_since timestamptz,
  add column restricted_at timestamptz,
  add column probe_at timestamptz,
  add column refused_probes smallint not null default 0,
  add column delivered_probes smallint not null default 0;
comment on column public.campaign_lanes.refusals is 'messages to strangers in a row that WhatsApp refused';
comment on column public.campaign_lanes.refused_since is 'when the first of them was released';
comment on column public.campaign_lanes.restricted_at is 'since when WhatsApp is taken to refuse strangers';
comment on column public.campaign_lanes.probe_at is 'when one message to a stranger may try again';
create index campaign_lanes_restricted on public.campaign_lanes (user_id) where restricted_at is not null;
"""

COLD_OUTCOMES = """
create table public.cold_outcomes (
  id bigint generated always as identity primary key,
  user_id uuid not null references auth.users (id) on delete cascade,
  message_id uuid not null references public.messages (id) on delete cascade,
  outcome text not null check (outcome in ('refused', 'accepted', 'delivered'))
);
create index cold_outcomes_of_user on public.cold_outcomes (user_id, id);
create index cold_outcomes_of_message on public.cold_outcomes (message_id);
comment on table public.cold_outcomes is
  'what became of campaigns'' messages to strangers, until the release has counted it';
"""

# What `tenant_table` leaves open on Supabase; an insert needs no right on the sequence of an identity column.
SEQUENCE = "revoke all on sequence public.cold_outcomes_id_seq from public, anon, authenticated"

# Until now every row that came in was somebody who wrote.
WRITTEN = """
drop index public.messages_inbound;
create index messages_written on public.messages (user_id, phone, created_at)
  where direction = 'in' and app.is_written(kind);
"""

INCIDENTS = """
alter table public.incidents drop constraint incidents_kind_check;
alter table public.incidents add constraint incidents_kind_check check (kind in (
  'zombie', 'dropped', 'stuck', 'silent', 'not_scanned', 'logged_out', 'unacked', 'server_down', 'same_number',
  'restricted'));
"""


def upgrade() -> None:
    install("is_written")
    execute(COLUMNS)
    execute(COLD_OUTCOMES)
    tenant_table("cold_outcomes", read_by="nobody", system="select, delete", definer="all")
    execute(SEQUENCE)
    execute(WRITTEN)
    execute(INCIDENTS)
    install("record_cold_outcome", "mark_readable_message", "notify_restriction")
