"""What WhatsApp knows of a number, kept for a while; and texts with variables, in versions that never change."""

from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

NUMBERS = """
create table public.number_checks (
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid not null,
  phone text not null check (phone ~ '^[0-9]{5,20}$'),
  on_whatsapp boolean,
  address text,
  asked_at timestamptz not null default now(),
  checked_at timestamptz,
  confirmed_at timestamptz,
  fresh_until timestamptz,
  primary key (session_id, phone)
);
create index number_checks_asked on public.number_checks (session_id, asked_at);
comment on column public.number_checks.on_whatsapp is 'null: asked, and no answer yet';
comment on column public.number_checks.address is 'as WhatsApp itself writes it: Brazil''s ninth digit';
comment on column public.number_checks.asked_at is 'written before the question: the hour''s budget is counted by it';
comment on column public.number_checks.confirmed_at is 'the newest acknowledgement that came from this address';
comment on column public.number_checks.fresh_until is 'until when the answer is believed';
"""

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
  created_at timestamptz not null default now(),
  created_by uuid not null,
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

# A version is written once; nobody is granted to change or delete one. The owner changes a template, staff share theirs
# and may put anybody's shared one away; what a shared one sends may be read by whoever may send it.
ISOLATION = """
do $$
declare t text;
begin
  foreach t in array array['number_checks', 'templates', 'template_versions'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('alter table public.%I force row level security', t);
    execute format('revoke all on public.%I from public, anon, authenticated, service_role', t);
    execute format('grant select on public.%I to authenticated, service_role', t);
  end loop;
end $$;

grant insert, update, delete on public.number_checks to service_role;
create policy number_checks_of_system on public.number_checks to service_role using (true) with check (true);
grant insert (session_id, user_id, phone, asked_at) on public.number_checks to authenticated;
grant update (on_whatsapp, address, asked_at, checked_at, fresh_until) on public.number_checks to authenticated;
create policy number_checks_of_owner on public.number_checks to authenticated
  using ((select auth.uid()) = user_id)
  with check ((select auth.uid()) = user_id and exists (
    select from public.whatsapp_sessions s
     where s.id = number_checks.session_id and s.user_id = (select auth.uid())));

create policy templates_of_system on public.templates for select to service_role using (true);
create policy templates_read on public.templates for select to authenticated
  using ((select auth.uid()) = user_id or shared);
grant insert (user_id, shared, name) on public.templates to authenticated;
create policy templates_made on public.templates for insert to authenticated
  with check ((select auth.uid()) = user_id and (not shared or (select app.is_staff())));
grant update (shared, name, version, updated_at, archived_at) on public.templates to authenticated;
create policy templates_changed on public.templates for update to authenticated
  using (case when shared then (select app.is_staff()) else (select auth.uid()) = user_id end)
  with check (((select auth.uid()) = user_id or shared) and (not shared or (select app.is_staff())));

create policy template_versions_of_system on public.template_versions for select to service_role using (true);
create policy template_versions_read on public.template_versions for select to authenticated
  using ((select auth.uid()) = user_id
    or exists (select from public.templates t where t.id = template_versions.template_id and t.shared));
grant insert (template_id, version, user_id, kind, body, media_sha256, mimetype, filename, defaults, created_by)
  on public.template_versions to authenticated;
create policy template_versions_made on public.template_versions for insert to authenticated
  with check ((select auth.uid()) = user_id and (select auth.uid()) = created_by);

create policy media_of_shared_templates on public.media for select to authenticated
  using (exists (
    select from public.template_versions v join public.templates t on t.id = v.template_id
     where v.user_id = media.user_id and v.media_sha256 = media.sha256 and t.shared));
"""


def upgrade() -> None:
    for part in (NUMBERS, TEMPLATES, ISOLATION):
        op.get_bind().connection.driver_connection.execute(part)
