"""When a session's start may be made, what its profile is taken by, and how long its server has been settling."""

from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None

STARTS = """
alter table public.whatsapp_sessions
  add column start_at timestamptz,
  add column start_asked_at timestamptz,
  add column start_phone text,
  add column profile_free_at timestamptz,
  add column settling_since timestamptz,
  add column ended_on_purpose_at timestamptz;
comment on column public.whatsapp_sessions.start_at is
  'a start is wanted that the server was not asked for yet: when to try it next, and the lease of whoever tries';
comment on column public.whatsapp_sessions.start_asked_at is 'when the server was last asked to start it';
comment on column public.whatsapp_sessions.start_phone is 'the number of that start, where it was by code';
comment on column public.whatsapp_sessions.profile_free_at is
  'until then a browser that is ending, or a start that nobody scanned, holds its profile';
comment on column public.whatsapp_sessions.settling_since is
  'since when the server says that it comes up and does not say CONNECTED yet';
comment on column public.whatsapp_sessions.ended_on_purpose_at is
  'when somebody ended it on purpose: where its server brings it back, it is ended again';
grant select (start_at, start_asked_at, start_phone, profile_free_at, settling_since, ended_on_purpose_at),
  update (start_at, start_asked_at, start_phone, profile_free_at, settling_since, ended_on_purpose_at)
  on public.whatsapp_sessions to authenticated;
"""

# A session that fell and is wanted is looked after at once, not at the next round; with its return its healing ends.
HURRY = """
create function app.hurry_health() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $f$
begin
  perform pg_notify('health', '');
  return null;
end $f$;
revoke execute on function app.hurry_health from public;
create trigger hurry_health after update of status on public.whatsapp_sessions for each row
  when (old.status is distinct from new.status
        and (new.status = 'conectado' or (old.status = 'conectado' and new.status = 'desconectado' and new.wants_up)))
  execute function app.hurry_health();
"""


def upgrade() -> None:
    for part in (STARTS, HURRY):
        op.get_bind().connection.driver_connection.execute(part)
