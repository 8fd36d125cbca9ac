"""Campaigns: one template to many, released one by one as the governor allows, and what became of each."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

TABLES = """
create table public.campaigns (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  name text not null check (length(name) between 1 and 80),
  template_id uuid not null,
  template_version integer not null,
  state text not null default 'rascunho'
    check (state in ('rascunho', 'ativa', 'pausada', 'cancelada', 'terminada')),
  opens time not null,
  closes time not null,
  cap integer not null check (cap > 0),
  cold_share double precision not null check (cold_share between 0 and 1),
  pace double precision not null check (pace >= 0),
  created_at timestamptz not null default now(),
  started_at timestamptz,
  ended_at timestamptz,
  swept_at timestamptz,
  updated_at timestamptz not null default now(),
  unique (id, user_id)
);
create index campaigns_of_user on public.campaigns (user_id, created_at desc, id);
create index campaigns_active on public.campaigns (user_id, started_at) where state = 'ativa';
create index campaigns_unswept on public.campaigns (id) where state = 'cancelada' and swept_at is null;
comment on column public.campaigns.cap is 'of the session, over all its campaigns, on one day';
comment on column public.campaigns.swept_at is 'when the worker had taken back what was released but had not left';

create table public.campaign_recipients (
  campaign_id uuid not null,
  user_id uuid not null,
  seq integer not null check (seq > 0),
  phone text not null,
  name text,
  variables jsonb not null default '{}',
  cold boolean not null default true,
  state text not null default 'waiting' check (state in ('waiting', 'released', 'skipped', 'cancelled')),
  reason text,
  message_id uuid references public.messages (id) on delete set null,
  released_at timestamptz,
  primary key (campaign_id, seq),
  unique (campaign_id, phone),
  foreign key (campaign_id, user_id) references public.campaigns (id, user_id) on delete cascade
);
create index campaign_recipients_waiting on public.campaign_recipients (campaign_id, cold, seq)
  where state = 'waiting';
create index campaign_recipients_by_state on public.campaign_recipients (campaign_id, state);
create index campaign_recipients_released on public.campaign_recipients (user_id, released_at) include (cold)
  where released_at is not null;
create index campaign_recipients_message on public.campaign_recipients (message_id) where message_id is not null;
comment on column public.campaign_recipients.cold is 'did not write to the session lately, when the list was made';

create table public.campaign_lanes (
  user_id uuid primary key references auth.users (id) on delete cascade,
  zone text not null,
  free_at timestamptz not null default now(),
  look_at timestamptz,
  why text,
  phone_number text,
  young_since timestamptz
);
create index campaign_lanes_due on public.campaign_lanes (look_at) where look_at is not null;
comment on table public.campaign_lanes is 'one a sender: whoever holds its row is the only one to release for it';
comment on column public.campaign_lanes.free_at is 'until when the number rests from its last message of a campaign';
comment on column public.campaign_lanes.look_at is 'when the worker looks next; null while no campaign is under way';
comment on column public.campaign_lanes.young_since is 'since when this number has been connected';
"""

# Who wrote to us is warm; how much of a campaign is under way is counted; what waits is taken back.
MESSAGES = """
create index messages_inbound on public.messages (user_id, phone, created_at) where direction = 'in';
create index messages_of_campaign on public.messages (campaign_id, state) where campaign_id is not null;
alter table public.messages drop constraint messages_state_check;
alter table public.messages add constraint messages_state_check check (state in ('queued', 'sending', 'accepted',
  'sent', 'delivered', 'read', 'failed', 'uncertain', 'cancelled', 'received'));
"""

# People make, hold and end their own campaigns; who gets something and when only the worker writes.
ISOLATION = """
do $$
declare t text;
begin
  foreach t in array array['campaigns', 'campaign_recipients', 'campaign_lanes'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('alter table public.%I force row level security', t);
    execute format('revoke all on public.%I from public, anon, authenticated, service_role', t);
    execute format('grant select, insert, update, delete on public.%I to service_role', t);
    execute format('create policy %I on public.%I to service_role using (true) with check (true)',
      t || '_of_system', t);
    execute format('grant select on public.%I to authenticated', t);
    execute format('create policy %I on public.%I for select to authenticated using ((select auth.uid()) = user_id)',
      t || '_of_owner', t);
    execute format('create policy %I on public.%I for insert to authenticated
      with check ((select auth.uid()) = user_id)', t || '_made_by_owner', t);
  end loop;
end $$;
grant insert (id, user_id, name, template_id, template_version, opens, closes, cap, cold_share, pace)
  on public.campaigns to authenticated;
grant update (name, state, opens, closes, cap, cold_share, pace, started_at, ended_at, updated_at)
  on public.campaigns to authenticated;
create policy campaigns_changed_by_owner on public.campaigns for update to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
grant insert (campaign_id, user_id, seq, phone, name, variables, cold) on public.campaign_recipients to authenticated;
grant insert (user_id, zone, look_at, phone_number, young_since), update (zone, look_at, phone_number, young_since)
  on public.campaign_lanes to authenticated;
create policy campaign_lanes_changed_by_owner on public.campaign_lanes for update to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
"""

# What staff stopped its owner does not start again.
LANES = """
alter table public.lanes add column stopped_by_staff boolean not null default false;
"""

BELL = """
create function app.ring_campaign() returns trigger language plpgsql set search_path = '' as $f$
begin
  perform pg_notify('live', 'campaign:' || new.user_id);
  if tg_table_name <> 'campaign_recipients' then
    perform pg_notify('campaigns', '');
  end if;
  return null;
end $f$;
revoke execute on function app.ring_campaign from public;
create trigger ring after insert or update on public.campaigns for each row execute function app.ring_campaign();
create trigger ring after update of state on public.campaign_recipients
  for each row execute function app.ring_campaign();
-- Of the owner's hand only; the worker's own clock is no news to it, and `why` is told with what it waits for.
create trigger ring after insert or update of zone, why on public.campaign_lanes
  for each row execute function app.ring_campaign();
create function app.ring_lane() returns trigger language plpgsql set search_path = '' as $f$
begin
  perform pg_notify('lanes', '');
  perform pg_notify('campaigns', '');
  perform pg_notify('live', 'campaign:' || s.user_id) from public.whatsapp_sessions s where s.id = new.session_id;
  return null;
end $f$;
revoke execute on function app.ring_lane from public;
create trigger ring after update of stopped_at on public.lanes for each row execute function app.ring_lane();
"""


def upgrade() -> None:
    for part in (TABLES, MESSAGES, ISOLATION, LANES, BELL):
        op.get_bind().connection.driver_connection.execute(part)
