"""The audit log as a chain of hashes, security events that nobody changes, broken glass, what a proof needs to know.

A row's hash covers the row and the hash before it, so that whoever changes, removes or slips in a row breaks every row
after it; the head, one row moved by the same trigger, shows when the newest rows are missing. All of it lives in a
trigger: no code can forget it. Whoever owns the database can rebuild a whole chain, but not one whose head was written
down elsewhere before.
"""

from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

HEAD = """
create table public.audit_head (
  only_row boolean primary key default true check (only_row),
  seq bigint not null,
  hash bytea not null
);
comment on table public.audit_head is 'the newest record of audit_log, moved by its trigger: shows a missing end';

alter table public.audit_log
  add column seq bigint,
  add column prev_hash bytea,
  add column hash bytea;
comment on column public.audit_log.seq is 'place in the chain, from 1 without a gap, in the order of commits';

-- The canonical text is a JSON array as PostgreSQL itself writes jsonb: keys in order, no choice of spaces. Moments are
-- seconds since 1970, which no session's time zone changes.
create function app.audit_digest(r public.audit_log) returns bytea
language sql stable set search_path = '' as $f$
  select sha256(r.prev_hash || convert_to(jsonb_build_array(r.seq, r.id, extract(epoch from r.at), r.actor_id,
    r.actor_role, r.action, r.subject, r.detail, r.request_id)::text, 'UTF8'))
$f$;

-- The head's row lock is held to the end of the transaction, which puts the writers one behind the other.
create function app.chain_audit() returns trigger
language plpgsql volatile security definer set search_path = '' as $f$
begin
  select h.seq + 1, h.hash into strict new.seq, new.prev_hash from public.audit_head h for update;
  new.hash := app.audit_digest(new);
  update public.audit_head h set seq = new.seq, hash = new.hash;
  return new;
end $f$;
"""

# What was written before is chained in the order in which it was numbered. The first record follows 32 zeros.
ADOPTION = """
drop trigger append_only on public.audit_log;
do $$
declare r public.audit_log; n bigint := 0; last bytea := decode(repeat('00', 32), 'hex');
begin
  for r in select * from public.audit_log order by id loop
    n := n + 1;
    r.seq := n;
    r.prev_hash := last;
    last := app.audit_digest(r);
    update public.audit_log a set seq = n, prev_hash = r.prev_hash, hash = last where a.id = r.id;
  end loop;
  insert into public.audit_head (seq, hash) values (n, last);
end $$;
"""

# Triggers bind the owner and a superuser too, unlike grants.
APPEND_ONLY = """
alter table public.audit_log
  alter column seq set not null, alter column prev_hash set not null, alter column hash set not null;
create unique index audit_log_seq on public.audit_log (seq);

create or replace function app.refuse_change() returns trigger language plpgsql set search_path = '' as $f$
begin
  raise exception '% is append-only', tg_table_name using errcode = 'insufficient_privilege';
end $f$;
create trigger append_only before update or delete or truncate on public.audit_log
  for each statement execute function app.refuse_change();
create trigger append_only before update or truncate on public.security_events
  for each statement execute function app.refuse_change();
-- The clean-up takes old ones, and nobody the news.
create trigger not_yet before delete on public.security_events for each row
  when (old.at > now() - interval '30 days') execute function app.refuse_change();
create trigger only_by_the_chain before insert or update or delete or truncate on public.audit_head
  for each statement when (pg_trigger_depth() < 1) execute function app.refuse_change();
create trigger chain before insert on public.audit_log for each row execute function app.chain_audit();
"""

# People and the system name what they did, never when, nor the place in the chain. Security events are written by
# their thousands while somebody hammers at a door, and before anybody is known: in one chain they would all wait for
# each other, and a sign-in for an attack. They are append-only and not chained.
RIGHTS = """
revoke insert on public.audit_log from authenticated, service_role;
grant insert (actor_id, actor_role, action, subject, detail, request_id) on public.audit_log
  to authenticated, service_role;
revoke insert, delete on public.security_events from authenticated, service_role;
grant insert (kind, subject, ip, detail, request_id, actor_id) on public.security_events
  to authenticated, service_role;

alter table public.audit_head enable row level security;
alter table public.audit_head force row level security;
revoke all on public.audit_head from public, anon, authenticated, service_role;
grant select on public.audit_head to authenticated, service_role;
create policy audit_head_for_staff on public.audit_head for select to authenticated using ((select app.is_staff()));
create policy audit_head_of_system on public.audit_head for select to service_role using (true);
"""

# Newest first, whatever is filtered by. The last one: a page that somebody is refused is one event a minute, not one a
# click.
INDEXES = """
drop index public.audit_log_at;
drop index public.audit_log_subject;
drop index public.security_events_at;
create index audit_log_at on public.audit_log (at desc, seq desc);
create index audit_log_actor on public.audit_log (actor_id, at desc, seq desc);
create index audit_log_action on public.audit_log (action, at desc, seq desc);
create index audit_log_subject on public.audit_log (subject, at desc, seq desc);
create index security_events_at on public.security_events (at desc, id desc);
create index security_events_kind on public.security_events (kind, at desc, id desc);
create index security_events_subject on public.security_events (subject, at desc, id desc);
create index security_events_actor on public.security_events (actor_id, at desc, id desc);
create unique index security_events_once on public.security_events
  (kind, actor_id, subject, date_trunc('minute', at at time zone 'UTC')) where kind in ('page_refused', 'cross_tenant');
"""

# No foreign keys: the record outlives whom it names, as the audit log does.
GLASS = """
create table public.broken_glass (
  id uuid primary key default gen_random_uuid(),
  actor_id uuid not null,
  user_id uuid not null,
  scope text not null check (scope in ('qr', 'chats')),
  reason text not null check (length(btrim(reason)) between 10 and 500),
  started_at timestamptz not null default now(),
  until timestamptz not null,
  ended_at timestamptz,
  constraint broken_glass_at_most_an_hour check (until > started_at and until <= started_at + interval '60 minutes')
);
create index broken_glass_active on public.broken_glass (actor_id, user_id, scope, until desc) where ended_at is null;
comment on table public.broken_glass is 'staff who look at what is a user''s own: why, and until when; it ends by time';

create function app.mend_only() returns trigger language plpgsql set search_path = '' as $f$
begin
  if old.ended_at is not null or (to_jsonb(new) - 'ended_at') is distinct from (to_jsonb(old) - 'ended_at') then
    raise exception 'broken_glass is append-only' using errcode = 'insufficient_privilege';
  end if;
  new.ended_at := clock_timestamp();
  return new;
end $f$;
create trigger mend_only before update on public.broken_glass for each row execute function app.mend_only();
create trigger append_only before delete or truncate on public.broken_glass
  for each statement execute function app.refuse_change();

alter table public.broken_glass enable row level security;
alter table public.broken_glass force row level security;
revoke all on public.broken_glass from public, anon, authenticated, service_role;
grant select on public.broken_glass to authenticated, service_role;
grant insert (actor_id, user_id, scope, reason, until), update (ended_at) on public.broken_glass to authenticated;
create policy broken_glass_for_staff on public.broken_glass for select to authenticated
  using ((select app.is_staff()));
create policy broken_glass_for_its_user on public.broken_glass for select to authenticated
  using ((select auth.uid()) = user_id);
create policy broken_glass_by_staff on public.broken_glass for insert to authenticated
  with check ((select app.is_staff()) and (select auth.uid()) = actor_id);
create policy broken_glass_mended_by_actor on public.broken_glass for update to authenticated
  using ((select app.is_staff()) and (select auth.uid()) = actor_id)
  with check ((select app.is_staff()) and (select auth.uid()) = actor_id);
create policy broken_glass_of_system on public.broken_glass for select to service_role using (true);

create function app.glass_broken(user_id uuid, scope text) returns boolean
language sql stable security definer set search_path = '' as $f$
  select app.is_staff() and exists (
    select from public.broken_glass g
     where g.actor_id = auth.uid() and g.user_id = glass_broken.user_id and g.scope = glass_broken.scope
       and g.ended_at is null and g.until > clock_timestamp())
$f$;
"""

# For the live proof of isolation: a refusal only proves something where there is something to refuse. Counts, and only
# up to a thousand; where the owner is held by row level security too, a policy lets it count.
TENANT_TABLES = """
create function app.tenant_tables() returns table (schema_name text, table_name text, is_view boolean, filled integer)
language plpgsql stable security definer set search_path = '' as $f$
begin
  if app.is_staff() is not true then
    raise exception 'only for staff' using errcode = 'insufficient_privilege';
  end if;
  for schema_name, table_name, is_view in
    select n.nspname, c.relname, c.relkind in ('v', 'm')
      from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
     where (n.nspname = 'public' and c.relkind in ('r', 'p') and (c.relrowsecurity or exists (
              select from pg_catalog.pg_attribute a
               where a.attrelid = c.oid and a.attname = 'user_id' and not a.attisdropped)))
        or (n.nspname in ('public', 'app') and c.relkind in ('v', 'm') and not exists (
              select from pg_catalog.pg_depend d where d.objid = c.oid and d.deptype = 'e'))
     order by 1, 2
  loop
    begin
      execute format('select count(*) from (select from %I.%I limit 1000) x', schema_name, table_name) into filled;
    exception when insufficient_privilege then
      filled := 0;
    end;
    return next;
  end loop;
end $f$;
"""

OWNER = """
do $$
declare t text;
begin
  foreach t in array array['audit_head', 'broken_glass'] loop
    execute format('create policy %I on public.%I to current_user using (true) with check (true)', t || '_of_owner', t);
  end loop;
  for t in select c.relname from pg_class c
            where c.relnamespace = 'public'::regnamespace and c.relforcerowsecurity and not exists (
              select from pg_policy p where p.polrelid = c.oid and current_user::regrole::oid = any(p.polroles))
  loop
    execute format('create policy %I on public.%I for select to current_user using (true)', t || '_counted', t);
  end loop;
end $$;
"""

FUNCTIONS = """
revoke execute on all functions in schema app from public;
grant execute on function app.glass_broken(uuid, text), app.tenant_tables() to authenticated;
"""


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    for part in (HEAD, ADOPTION, APPEND_ONLY, RIGHTS, INDEXES, GLASS, TENANT_TABLES, OWNER, FUNCTIONS):
        driver.execute(part)
