"""What is sent to many or at a set time: templates, schedules and campaigns."""

from migrations.ddl import execute, install, tenant_table

revision = "0009_outreach"
down_revision = "0008_inbound"
branch_labels = None
depends_on = None

TEMPLATES = """
create table public.templates (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  shared boolean not null default false,
  name text not null check (length(name) between 1 and 80),
  version integer not null default 1 check (version > 0),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  archived_at timestamptz,
  unique (id, user_id)
);
create index templates_of_owner on public.templates (user_id, lower(name));
create index templates_shared on public.templates (lower(name)) where shared;
comment on column public.templates.shared is 'made by staff, read by everybody';
comment on column public.templates.version is 'the newest one';

create table public.template_versions (
  template_id uuid not null,
  version integer not null check (version > 0),
  user_id uuid not null,
  kind text not null,
  body text not null check (length(body) <= 4096),
  media_sha256 bytea,
  mimetype text,
  filename text,
  defaults jsonb not null default '{}',
  created_by uuid not null,
  created_at timestamptz not null default now(),
  primary key (template_id, version),
  foreign key (template_id, user_id) references public.templates (id, user_id) on delete cascade,
  foreign key (user_id, media_sha256) references public.media (user_id, sha256)
);
create index template_versions_media on public.template_versions (user_id, media_sha256)
  where media_sha256 is not null;
comment on column public.template_versions.user_id is 'the owner of the template, and so of the file';
comment on column public.template_versions.defaults is
  'the variables that there are: name → what stands there when nothing is given, null where something must be';
"""
# The owner changes a template. Staff share theirs, and may put away a shared one of anybody.
TEMPLATE_RIGHTS = """
grant select, insert (user_id, shared, name), update (shared, name, version, updated_at, archived_at)
  on public.templates to authenticated;
create policy templates_read on public.templates for select to authenticated
  using ((select auth.uid()) = user_id or shared);
create policy templates_made on public.templates for insert to authenticated
  with check ((select auth.uid()) = user_id and (not shared or (select app.is_staff())));
create policy templates_changed on public.templates for update to authenticated
  using (case when shared then (select app.is_staff()) else (select auth.uid()) = user_id end)
  with check (((select auth.uid()) = user_id or shared) and (not shared or (select app.is_staff())));
"""
# A version is written once: nobody may change or delete one. Whoever may send a shared template may read its file.
# The owner of the database looks here, and into schedules, for files that nothing carries (app.expired_media).
TEMPLATE_VERSION_RIGHTS = """
grant select, insert (template_id, version, user_id, kind, body, media_sha256, mimetype, filename, defaults, created_by)
  on public.template_versions to authenticated;
create policy template_versions_read on public.template_versions for select to authenticated
  using ((select auth.uid()) = user_id
    or exists (select from public.templates t where t.id = template_versions.template_id and t.shared));
create policy template_versions_made on public.template_versions for insert to authenticated
  with check ((select auth.uid()) = user_id and (select auth.uid()) = created_by);
create policy media_of_shared_templates on public.media for select to authenticated
  using (exists (
    select from public.template_versions v join public.templates t on t.id = v.template_id
     where v.user_id = media.user_id and v.media_sha256 = media.sha256 and t.shared));
"""

SCHEDULES = """
create table public.schedules (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  name text not null check (length(name) between 1 and 80),
  time_zone text not null check (length(time_zone) between 1 and 60),
  first_local_time timestamp not null,
  rule text check (length(rule) <= 200),
  kind text not null default 'chat',
  body text not null default '',
  media_sha256 bytea,
  filename text,
  detail jsonb not null default '{}' check (jsonb_typeof(detail) = 'object'),
  template_id uuid,
  template_version integer,
  recipients jsonb not null check (jsonb_typeof(recipients) = 'array'),
  next_local_time timestamp,
  next_at timestamptz,
  next_check_at timestamptz,
  paused_at timestamptz,
  ended_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (id, user_id),
  foreign key (user_id, media_sha256) references public.media (user_id, sha256),
  check ((next_local_time is null) = (next_at is null)),
  check ((template_id is null) = (template_version is null))
);
create index schedules_due on public.schedules (next_check_at) where next_check_at is not null;
create index schedules_media on public.schedules (user_id, media_sha256) where media_sha256 is not null;
create index schedules_of_user on public.schedules (user_id, next_at, id);
comment on table public.schedules is 'what is sent at a local time, once or again and again';
comment on column public.schedules.first_local_time is 'on the clock of time_zone: daylight saving moves the moment';
comment on column public.schedules.rule is 'an iCalendar RRULE without its name; null: once';
comment on column public.schedules.recipients is 'phone, name and values of each';
comment on column public.schedules.next_check_at is 'when the worker looks next; null while paused and once ended';

create table public.schedule_runs (
  schedule_id uuid not null,
  local_time timestamp not null,
  user_id uuid not null,
  due_at timestamptz not null,
  state text not null check (state in ('sent', 'missed', 'skipped')),
  reason text,
  message_ids uuid[] not null default '{}',
  left_out integer not null default 0,
  decided_at timestamptz not null default now(),
  primary key (schedule_id, local_time),
  foreign key (schedule_id, user_id) references public.schedules (id, user_id) on delete cascade
);
create index schedule_runs_of_user on public.schedule_runs (user_id, due_at desc);
comment on table public.schedule_runs is 'one row an occurrence that was decided: what makes it happen once';
comment on column public.schedule_runs.left_out is 'recipients to whom nothing went: they asked for silence';
"""
# People make and change their own schedules. What became of an occurrence only the worker writes; but people may skip
# one, and take that back until it is due.
SCHEDULE_RIGHTS = """
grant
  insert (id, user_id, name, time_zone, first_local_time, rule, kind, body, media_sha256, filename, detail, template_id,
    template_version, recipients, next_local_time, next_at, next_check_at),
  update (name, time_zone, first_local_time, rule, kind, body, media_sha256, filename, detail, template_id,
    template_version, recipients, next_local_time, next_at, next_check_at, paused_at, ended_at, updated_at)
  on public.schedules to authenticated;
create policy schedules_made_by_owner on public.schedules for insert to authenticated
  with check ((select auth.uid()) = user_id);
create policy schedules_changed_by_owner on public.schedules for update to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
grant insert (schedule_id, local_time, user_id, due_at, state), delete on public.schedule_runs to authenticated;
create policy schedule_runs_skipped_by_owner on public.schedule_runs for insert to authenticated
  with check ((select auth.uid()) = user_id and state = 'skipped');
create policy schedule_runs_unskipped_by_owner on public.schedule_runs for delete to authenticated
  using ((select auth.uid()) = user_id and state = 'skipped' and due_at > now());
"""

CAMPAIGNS = """
create table public.campaigns (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  name text not null check (length(name) between 1 and 80),
  template_id uuid not null,
  template_version integer not null,
  opens time not null,
  closes time not null,
  cap integer not null check (cap > 0),
  cold_share double precision not null check (cold_share between 0 and 1),
  pace double precision not null check (pace >= 0),
  state text not null default 'draft' check (state in ('draft', 'active', 'paused', 'cancelled', 'ended')),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  started_at timestamptz,
  ended_at timestamptz,
  swept_at timestamptz,
  unique (id, user_id)
);
create index campaigns_active on public.campaigns (user_id, started_at) where state = 'active';
create index campaigns_of_user on public.campaigns (user_id, created_at desc, id);
create index campaigns_unswept on public.campaigns (id) where state = 'cancelled' and swept_at is null;
comment on table public.campaigns is 'one template to many, released one by one as pacing allows';
comment on column public.campaigns.cap is 'of the session, over all its campaigns, on one day';
comment on column public.campaigns.swept_at is 'when the worker had taken back what was released but had not left';

create table public.campaign_recipients (
  campaign_id uuid not null,
  seq integer not null check (seq > 0),
  user_id uuid not null,
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
create index campaign_recipients_by_state on public.campaign_recipients (campaign_id, state);
create index campaign_recipients_message on public.campaign_recipients (message_id) where message_id is not null;
create index campaign_recipients_released on public.campaign_recipients (user_id, released_at) include (cold)
  where released_at is not null;
create index campaign_recipients_waiting on public.campaign_recipients (campaign_id, cold, seq)
  where state = 'waiting';
comment on column public.campaign_recipients.cold is 'did not write to the session lately, when the list was made';

create table public.campaign_lanes (
  user_id uuid primary key references auth.users (id) on delete cascade,
  phone_number text,
  warmup_started_at timestamptz,
  time_zone text not null,
  available_at timestamptz not null default now(),
  next_check_at timestamptz,
  waiting_reason text
);
create index campaign_lanes_due on public.campaign_lanes (next_check_at) where next_check_at is not null;
comment on table public.campaign_lanes is 'one a sender: whoever holds its row is the only one to release for it';
comment on column public.campaign_lanes.warmup_started_at is 'since when this number has been connected';
comment on column public.campaign_lanes.available_at is
  'until when the number rests from its last message of a campaign';
comment on column public.campaign_lanes.next_check_at is
  'when the worker looks next; null while no campaign is under way';
"""
# People make, hold and end their own campaigns; who gets something and when only the worker writes.
CAMPAIGN_RIGHTS = """
grant
  insert (id, user_id, name, template_id, template_version, opens, closes, cap, cold_share, pace),
  update (name, opens, closes, cap, cold_share, pace, state, updated_at, started_at, ended_at)
  on public.campaigns to authenticated;
create policy campaigns_made_by_owner on public.campaigns for insert to authenticated
  with check ((select auth.uid()) = user_id);
create policy campaigns_changed_by_owner on public.campaigns for update to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
grant insert (campaign_id, seq, user_id, phone, name, variables, cold) on public.campaign_recipients to authenticated;
create policy campaign_recipients_made_by_owner on public.campaign_recipients for insert to authenticated
  with check ((select auth.uid()) = user_id);
grant
  insert (user_id, phone_number, warmup_started_at, time_zone, next_check_at),
  update (phone_number, warmup_started_at, time_zone, next_check_at)
  on public.campaign_lanes to authenticated;
create policy campaign_lanes_made_by_owner on public.campaign_lanes for insert to authenticated
  with check ((select auth.uid()) = user_id);
create policy campaign_lanes_changed_by_owner on public.campaign_lanes for update to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
"""


def upgrade() -> None:
    execute(TEMPLATES)
    tenant_table("templates", read_by="nobody", system="select")
    tenant_table("template_versions", read_by="nobody", system="select", definer="read")
    execute(TEMPLATE_RIGHTS)
    execute(TEMPLATE_VERSION_RIGHTS)

    execute(SCHEDULES)
    tenant_table("schedules", definer="read")
    tenant_table("schedule_runs")
    execute(SCHEDULE_RIGHTS)
    install("notify_schedule", "notify_schedule_run")

    execute(CAMPAIGNS)
    tenant_table("campaigns")
    tenant_table("campaign_recipients")
    tenant_table("campaign_lanes")
    execute(CAMPAIGN_RIGHTS)
    install("notify_campaign")
