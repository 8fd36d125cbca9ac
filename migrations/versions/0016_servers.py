"""`wpp_servers`: what is known of each WPPConnect server, and the choice of one for a new session.

The configuration says which servers there are and keeps their secrets; a row holds only what staff decide (capacity,
draining) and what the last look found. A row whose address is configured no longer stays, and gets no new session.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

TABLE = """
create table public.wpp_servers (
  url text primary key,
  number integer generated always as identity,
  capacity integer not null default 100 check (capacity between 0 and 100000),
  drained_at timestamptz,
  healthy boolean,
  state_since timestamptz,
  looked_at timestamptz,
  latency_ms integer,
  version text,
  started_at timestamptz,
  error text,
  error_detail text,
  error_at timestamptz,
  scanned_at timestamptz,
  warnings text[] not null default '{}'
);
comment on column public.wpp_servers.number is 'what people call it by: its address never leaves the processes';
comment on column public.wpp_servers.drained_at is 'since when it gets no new session; null: it gets them';
comment on column public.wpp_servers.healthy is 'null: never looked at';
comment on column public.wpp_servers.state_since is 'since when it is as healthy says';
comment on column public.wpp_servers.error is 'code of the newest failure, kept after the recovery';

create index whatsapp_sessions_server on public.whatsapp_sessions (server_url, status);
"""

# Staff read, an admin decides; what a look found is written by the functions below only.
ISOLATION = """
alter table public.wpp_servers enable row level security;
alter table public.wpp_servers force row level security;
revoke all on public.wpp_servers from public, anon, authenticated, service_role;
do $$ begin
  execute format('revoke all on sequence %s from public, anon, authenticated',
    pg_get_serial_sequence('public.wpp_servers', 'number'));
end $$;
grant select on public.wpp_servers to authenticated, service_role;
grant update (capacity, drained_at) on public.wpp_servers to authenticated;
create policy wpp_servers_of_staff on public.wpp_servers for select to authenticated using ((select app.is_staff()));
create policy wpp_servers_by_admin on public.wpp_servers for update to authenticated
  using ((select app.is_admin())) with check ((select app.is_admin()));
create policy wpp_servers_of_system on public.wpp_servers for select to service_role using (true);
-- Row level security binds the owner too, as whom the functions below run.
do $$ begin
  execute 'create policy wpp_servers_noted on public.wpp_servers to current_user using (true) with check (true)';
end $$;
"""

# Numbered in the order of the configuration. Only what is missing is inserted: an attempt would use a number up.
REGISTER = """
create function app.register_servers(urls text[]) returns void
language plpgsql volatile security definer set search_path = '' as $f$
begin
  if not (app.is_staff() or current_setting('role') = 'service_role') then
    raise exception 'only for staff' using errcode = 'insufficient_privilege';
  end if;
  insert into public.wpp_servers (url)
    select given.url from unnest(urls) with ordinality as given (url, place)
     where not exists (select from public.wpp_servers s where s.url = given.url)
     order by given.place
    on conflict (url) do nothing;
end $f$;
"""

# The version is told only while a session runs there: it is kept until the server has restarted, because that is when
# it can have changed. The start is reckoned from an uptime, which two looks never round alike: 5 s are the same start.
NOTE = """
create function app.note_look(
  looked_url text, well boolean, latency integer, told_version text, uptime double precision, code text, detail text
) returns void
language plpgsql volatile security definer set search_path = '' as $f$
declare began timestamptz := now() - make_interval(secs => uptime);
begin
  if not (app.is_staff() or current_setting('role') = 'service_role') then
    raise exception 'only for staff' using errcode = 'insufficient_privilege';
  end if;
  update public.wpp_servers s set
      healthy = well,
      state_since = case when s.healthy is not distinct from well then s.state_since else now() end,
      looked_at = now(),
      latency_ms = latency,
      version = coalesce(told_version,
        case when abs(extract(epoch from s.started_at - began)) > 5 then null else s.version end),
      started_at = case when abs(extract(epoch from s.started_at - began)) <= 5 then s.started_at
                        else coalesce(began, s.started_at) end,
      error = case when well then s.error else code end,
      error_detail = case when well then s.error_detail else detail end,
      error_at = case when well then s.error_at else now() end
   where s.url = looked_url;
end $f$;

create function app.note_scan(scanned_url text, findings text[]) returns void
language plpgsql volatile security definer set search_path = '' as $f$
begin
  if not (app.is_staff() or current_setting('role') = 'service_role') then
    raise exception 'only for staff' using errcode = 'insufficient_privilege';
  end if;
  update public.wpp_servers set scanned_at = now(), warnings = findings where url = scanned_url;
end $f$;
"""

# `home` keeps its session while it is configured and not drained. Otherwise the server with most room; one whose newest
# look failed only where no other has any, because that look may be older than its recovery. The lock lets one choose at
# a time, so that two cannot take the same last place: the second counts after the first has committed.
CHOOSE = """
create function app.choose_server(urls text[], home text) returns text
language plpgsql volatile security definer set search_path = '' as $f$
begin
  if home = any(urls) and not exists (
    select from public.wpp_servers s where s.url = home and s.drained_at is not null) then
    return home;
  end if;
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('choose_server', 0));
  return (
    select able.url
      from (select given.url,
                   coalesce(not s.healthy and s.looked_at > now() - interval '2 minutes', false) as ill,
                   coalesce(s.capacity, 100) - (select count(*) from public.whatsapp_sessions w
                     where w.server_url = given.url and w.status <> 'desconectado') as room
              from unnest(urls) as given (url) left join public.wpp_servers s on s.url = given.url
             where s.drained_at is null) able
     where able.room > 0
     order by able.ill, able.room desc, able.url
     limit 1);
end $f$;
"""

GRANTS = """
revoke execute on function app.register_servers(text[]), app.choose_server(text[], text),
  app.note_look(text, boolean, integer, text, double precision, text, text), app.note_scan(text, text[]) from public;
grant execute on function app.register_servers(text[]), app.choose_server(text[], text),
  app.note_look(text, boolean, integer, text, double precision, text, text), app.note_scan(text, text[])
  to authenticated, service_role;
"""


def upgrade() -> None:
    for part in (TABLE, ISOLATION, REGISTER, NOTE, CHOOSE, GRANTS):
        op.get_bind().connection.driver_connection.execute(part)
