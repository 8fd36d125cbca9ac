"""`rules`: what a user wants done with what comes in; `rule_uses`: what was done, without a word of what was said."""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

TABLES = """
create table public.rules (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  kind text not null check (kind in ('auto_reply', 'label')),
  active boolean not null default true,
  reply text,
  zone text,
  hours jsonb,
  words text[],
  label text,
  created_at timestamptz not null default now(),
  check (case kind when 'auto_reply' then reply is not null and zone is not null and jsonb_typeof(hours) = 'array'
                   else cardinality(words) > 0 and label is not null end)
);
create index rules_of_user on public.rules (user_id);
create unique index rules_one_auto_reply on public.rules (user_id) where kind = 'auto_reply';
comment on column public.rules.hours is 'from Monday on, each day''s hours as ["08:00", "18:00"], or null: closed';

create table public.rule_uses (
  id bigint generated always as identity primary key,
  rule_id uuid not null references public.rules (id) on delete cascade,
  user_id uuid not null,
  contact_id uuid not null references public.contacts (id) on delete cascade,
  message_id uuid references public.messages (id) on delete set null,
  day date not null,
  what text not null check (what in ('replied', 'labelled', 'automatic', 'opted_out', 'too_many')),
  at timestamptz not null default clock_timestamp()
);
create unique index rule_uses_once_a_day on public.rule_uses (rule_id, contact_id, day, what);
create index rule_uses_of_user on public.rule_uses (user_id, id desc);
create index rule_uses_of_contact on public.rule_uses (contact_id);
create index rule_uses_of_message on public.rule_uses (message_id) where message_id is not null;
comment on column public.rule_uses.day is 'by the rule''s own zone';
comment on column public.rule_uses.what is 'done, or why an automatic reply was withheld';
"""

ISOLATION = """
do $$
declare t text;
begin
  foreach t in array array['rules', 'rule_uses'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('alter table public.%I force row level security', t);
    execute format('revoke all on public.%I from public, anon, authenticated, service_role', t);
    execute format('grant select, insert, update, delete on public.%I to service_role', t);
    execute format('create policy %I on public.%I to service_role using (true) with check (true)',
      t || '_of_system', t);
    execute format('grant select on public.%I to authenticated', t);
  end loop;
  execute format('revoke all on sequence %s from public, anon, authenticated',
    pg_get_serial_sequence('public.rule_uses', 'id'));
end $$;
grant insert (user_id, kind, active, reply, zone, hours, words, label), update (active, reply, zone, hours), delete
  on public.rules to authenticated;
create policy rules_of_owner on public.rules to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
create policy rule_uses_of_owner_or_staff on public.rule_uses for select to authenticated
  using ((select auth.uid()) = user_id or (select app.is_staff()));
"""


def upgrade() -> None:
    for part in (TABLES, ISOLATION):
        op.get_bind().connection.driver_connection.execute(part)
