"""`gaps`: when somebody was away and what came in meanwhile may be missing; `gap_chats`: what was read back for it."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

TABLES = """
create table public.gaps (
  id uuid primary key default gen_random_uuid(),
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid not null,
  from_at timestamptz not null,
  to_at timestamptz,
  reason text not null check (reason in ('receiver', 'database', 'session', 'server', 'asked')),
  state text not null default 'waiting' check (state in ('open', 'waiting', 'reading', 'done', 'failed')),
  next_at timestamptz not null default clock_timestamp(),
  attempts integer not null default 0,
  listed_at timestamptz,
  chats integer not null default 0,
  recovered integer not null default 0,
  failed integer not null default 0,
  why text,
  created_at timestamptz not null default clock_timestamp(),
  done_at timestamptz,
  check (to_at is not null or state = 'open')
);
create unique index gaps_open on public.gaps (session_id) where state = 'open';
create unique index gaps_waiting on public.gaps (session_id)
  where state = 'waiting' and attempts = 0 and reason <> 'asked';
create index gaps_due on public.gaps (next_at) where state in ('waiting', 'reading');
create index gaps_of_user on public.gaps (user_id, created_at desc);
create index gaps_newest on public.gaps (created_at desc);
create index gaps_of_session on public.gaps (session_id);
comment on column public.gaps.to_at is 'null while it lasts';
comment on column public.gaps.next_at is 'when it is read; while it is being read, the end of the lease';
comment on column public.gaps.listed_at is 'since when gap_chats says which chats are to be read';
comment on column public.gaps.failed is 'chats that could not be read, which gap_chats names to their owner';

create table public.gap_chats (
  gap_id uuid not null references public.gaps (id) on delete cascade,
  address text not null,
  user_id uuid not null,
  state text not null default 'waiting' check (state in ('waiting', 'done', 'failed')),
  recovered integer not null default 0,
  why text,
  primary key (gap_id, address)
);
create index gap_chats_of_user on public.gap_chats (user_id);
comment on column public.gap_chats.why is 'code of the newest failure, or too_deep, too_many';
"""

# Staff see that something was missed and how much came back; with whom somebody talks is theirs alone.
ISOLATION = """
do $$
declare t text;
begin
  foreach t in array array['gaps', 'gap_chats'] loop
    execute format('alter table public.%I enable row level security', t);
    execute format('alter table public.%I force row level security', t);
    execute format('revoke all on public.%I from public, anon, authenticated, service_role', t);
    execute format('grant select, insert, update, delete on public.%I to service_role', t);
    execute format('create policy %I on public.%I to service_role using (true) with check (true)',
      t || '_of_system', t);
    execute format('grant select on public.%I to authenticated', t);
  end loop;
  -- Row level security binds the owner too, as whom the triggers run.
  execute 'create policy gaps_noted on public.gaps to current_user using (true) with check (true)';
end $$;
create policy gaps_of_owner_or_staff on public.gaps for select to authenticated
  using ((select auth.uid()) = user_id or (select app.is_staff()));
create policy gap_chats_of_owner on public.gap_chats for select to authenticated
  using ((select auth.uid()) = user_id);
grant insert (session_id, user_id, from_at, to_at, reason, listed_at, chats) on public.gaps to authenticated;
grant insert (gap_id, address, user_id) on public.gap_chats to authenticated;
create policy gaps_asked_by_owner on public.gaps for insert to authenticated
  with check ((select auth.uid()) = user_id and reason = 'asked' and state = 'waiting' and exists (
    select from public.whatsapp_sessions s where s.id = gaps.session_id and s.user_id = (select auth.uid())));
create policy gap_chats_asked_by_owner on public.gap_chats for insert to authenticated
  with check ((select auth.uid()) = user_id and exists (
    select from public.gaps g
     where g.id = gap_chats.gap_id and g.user_id = (select auth.uid()) and g.reason = 'asked'));
"""

# Two that wait for the same session, neither begun, are read as one. After a session or a server came back, WhatsApp
# Web first has to get from the phone what it has missed.
NOTE = """
create function app.note_gap(why text, began timestamptz, ended timestamptz, of_server text, of_session uuid)
returns void
language plpgsql volatile security definer set search_path = '' as $f$
declare
  due timestamptz := clock_timestamp() + case when why in ('session', 'server') then interval '10 seconds'
                                              else interval '0' end;
begin
  insert into public.gaps as g (session_id, user_id, from_at, to_at, reason, next_at)
    select s.id, s.user_id, began, ended, why, due from public.whatsapp_sessions s
     where s.status = 'conectado' and (of_server is null or s.server_url = of_server)
       and (of_session is null or s.id = of_session)
    on conflict (session_id) where state = 'waiting' and attempts = 0 and reason <> 'asked' do update
      set from_at = least(g.from_at, excluded.from_at), to_at = greatest(g.to_at, excluded.to_at),
          next_at = excluded.next_at;
  perform pg_notify('backfill', '');
end $f$;
"""

# A session is away from when it was last proved to be there: nothing says that it was there any longer.
SESSIONS = """
create function app.watch_session() returns trigger
language plpgsql volatile security definer set search_path = '' as $f$
declare began timestamptz;
begin
  if old.status = 'conectado' then
    insert into public.gaps (session_id, user_id, from_at, reason, state)
      values (new.id, new.user_id, coalesce(old.last_proof_at, old.connected_at, now()), 'session', 'open')
      on conflict do nothing;
  elsif new.status = 'conectado' then
    delete from public.gaps where session_id = new.id and state = 'open' returning from_at into began;
    if began is not null then
      perform app.note_gap('session', began, clock_timestamp(), null, new.id);
    end if;
  end if;
  return null;
end $f$;
create trigger watch after update of status on public.whatsapp_sessions for each row
  when (new.status is distinct from old.status) execute function app.watch_session();
"""

# Looks are up to 20 s apart, so it may have gone that much before it was seen to be.
SERVERS = """
create function app.watch_server() returns trigger
language plpgsql volatile security definer set search_path = '' as $f$
begin
  perform app.note_gap('server', old.state_since - interval '20 seconds', clock_timestamp(), new.url, null);
  return null;
end $f$;
create trigger watch after update of healthy on public.wpp_servers for each row
  when (new.healthy and old.healthy is false) execute function app.watch_server();
"""

BELL = """
create function app.ring_gap() returns trigger language plpgsql set search_path = '' as $f$
begin
  if new.state = 'waiting' then
    perform pg_notify('backfill', '');
  end if;
  perform pg_notify('live', 'message:' || new.user_id);
  return null;
end $f$;
create trigger ring after insert or update of state, recovered on public.gaps
  for each row execute function app.ring_gap();
"""

GRANTS = """
revoke execute on function app.note_gap(text, timestamptz, timestamptz, text, uuid), app.watch_session(),
  app.watch_server(), app.ring_gap() from public;
grant execute on function app.note_gap(text, timestamptz, timestamptz, text, uuid) to service_role;
"""


def upgrade() -> None:
    for part in (TABLES, ISOLATION, NOTE, SESSIONS, SERVERS, BELL, GRANTS):
        op.get_bind().connection.driver_connection.execute(part)
