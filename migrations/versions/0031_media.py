"""Files that nothing carries any more: what they are, how they are counted and how they go."""

from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

# Keeping the same content again makes it young again: whoever has just chosen a file may still send it.
KEEPING = """
grant update (created_at) on public.media to authenticated;
create policy media_kept_again_by_owner on public.media for update to authenticated
  using ((select auth.uid()) = user_id) with check ((select auth.uid()) = user_id);
"""

# Row level security binds the owner too, as whom the functions below run.
OWNER = """
create policy media_cleaned on public.media to current_user using (true) with check (true);
create policy template_versions_cleaned on public.template_versions for select to current_user using (true);
"""

KINDS = """
alter table public.cleanup_runs drop constraint cleanup_runs_kinds_check;
alter table public.cleanup_runs add constraint cleanup_runs_kinds_check check (kinds <@ array['codes', 'sessions',
  'events', 'parked_acks', 'heartbeats', 'sign_in_attempts', 'signed_out', 'security_events', 'timeline', 'jobs',
  'media', 'runs']);
"""

VIEW = """
create view app.rubbish_media as
  select f.user_id, f.sha256, f.created_at as since from public.media f
   where not exists (select from public.messages m where m.user_id = f.user_id and m.media_sha256 = f.sha256)
     and not exists (select from public.template_versions t where t.user_id = f.user_id and t.media_sha256 = f.sha256);
create index media_kept_at on public.media (created_at);
"""

# The rows stay locked until the caller, who deletes the files meanwhile, commits. Where it dies before, the next one
# finds the rows again; whoever keeps the same content at this moment waits, and then writes it anew.
CLEAN = """
create function app.clean_media(keep interval, most integer) returns table (user_id uuid, sha256 bytea)
language sql volatile security definer set search_path = '' as $f$
  delete from public.media f using (
      select r.user_id, r.sha256 from app.rubbish_media r where r.since < now() - keep order by r.since limit most) old
   where f.user_id = old.user_id and f.sha256 = old.sha256 and f.created_at < now() - keep
  returning f.user_id, f.sha256
$f$;
revoke execute on function app.clean_media(interval, integer) from public;
grant execute on function app.clean_media(interval, integer) to service_role;
"""


def upgrade() -> None:
    for part in (KEEPING, OWNER, KINDS, VIEW, CLEAN):
        op.get_bind().connection.driver_connection.execute(part)
