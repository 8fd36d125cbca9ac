"""`session_timeline`: what became of each session and what was done to it, in order, for whoever is on call."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# Append-only by grants; what is past its retention goes by the owner's own clean-up functions.
TABLE = """
create table public.session_timeline (
  id bigint generated always as identity primary key,
  session_id uuid not null references public.whatsapp_sessions (id) on delete cascade,
  user_id uuid not null,
  at timestamptz not null default clock_timestamp(),
  kind text not null check (kind in ('state', 'staff', 'health')),
  what text not null,
  outcome text,
  detail jsonb not null default '{}',
  actor_id uuid default auth.uid(),
  request_id text
);
comment on column public.session_timeline.kind is 'state: it changed by itself or by its user; staff: somebody of the '
  'staff did something; health: the worker found or healed something';
comment on column public.session_timeline.outcome is 'ok, failed, or null where there is none';
create index session_timeline_of_session on public.session_timeline (session_id, id desc);
create index session_timeline_in_time on public.session_timeline using brin (at);

alter table public.session_timeline enable row level security;
alter table public.session_timeline force row level security;
revoke all on public.session_timeline from public, anon, authenticated;
do $$ begin
  execute format('revoke all on sequence %s from public, anon, authenticated',
    pg_get_serial_sequence('public.session_timeline', 'id'));
end $$;
grant select on public.session_timeline to authenticated;
grant insert (session_id, user_id, kind, what, outcome, detail, request_id) on public.session_timeline to authenticated;
grant select, insert on public.session_timeline to service_role;
create policy session_timeline_of_owner_or_staff on public.session_timeline for select to authenticated
  using ((select auth.uid()) = user_id or (select app.is_staff()));
create policy session_timeline_by_staff on public.session_timeline for insert to authenticated
  with check ((select app.is_staff()) and kind = 'staff');
create policy session_timeline_of_system on public.session_timeline to service_role using (true) with check (true);
create policy session_timeline_of_owner on public.session_timeline to current_user using (true) with check (true);
"""

# Written by the row itself, so that no way of changing a status can forget it.
STATES = """
create function app.note_session_state() returns trigger
language plpgsql security definer set search_path = '' as $f$
begin
  insert into public.session_timeline (session_id, user_id, kind, what, detail) values (
    new.id, new.user_id, 'state',
    case when new.status is distinct from old.status then new.status
         when new.server_url is distinct from old.server_url then 'moved' else 'scanned' end,
    jsonb_strip_nulls(jsonb_build_object('failure', new.failure, 'reported_state', new.reported_state,
      'proof', case when new.status = 'conectado' then new.last_proof_kind end)));
  return null;
end $f$;
revoke execute on function app.note_session_state from public;
create trigger note_state after update of status, server_url, scanned_at on public.whatsapp_sessions for each row
  when (new.status is distinct from old.status or new.server_url is distinct from old.server_url
        or (new.scanned_at is not null and old.scanned_at is null))
  execute function app.note_session_state();
"""


def upgrade() -> None:
    for part in (TABLE, STATES):
        op.get_bind().connection.driver_connection.execute(part)
