"""`api_keys`: how a machine proves for which user it speaks."""

from alembic import op
from psycopg import sql
from sqlalchemy.engine import make_url

from services import settings

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TABLE = """
create table public.api_keys (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  name text not null check (length(name) between 1 and 80),
  scopes text[] not null check (cardinality(scopes) > 0 and scopes <@ array['ler', 'enviar', 'sessao']),
  prefix text not null,
  secret_hash bytea not null check (length(secret_hash) = 32),
  created_at timestamptz not null default now(),
  last_used_at timestamptz,
  expires_at timestamptz,
  revoked_at timestamptz
);
create unique index api_keys_secret on public.api_keys (secret_hash);
create index api_keys_of_user on public.api_keys (user_id, created_at desc);
comment on column public.api_keys.secret_hash is 'sha256 of 256 random bits: nobody guesses those';
comment on column public.api_keys.prefix is 'the first characters of the key, by which its owner knows it again';
"""

# A person makes keys for themselves and takes them back; staff may take anybody's back. Nobody reads the hash, and
# nothing but the revocation ever changes.
ISOLATION = """
alter table public.api_keys enable row level security;
alter table public.api_keys force row level security;
revoke all on public.api_keys from public, anon, authenticated, service_role;
grant select (id, user_id, name, scopes, prefix, created_at, last_used_at, expires_at, revoked_at)
  on public.api_keys to authenticated;
grant insert (user_id, name, scopes, prefix, secret_hash, expires_at) on public.api_keys to authenticated;
grant update (revoked_at) on public.api_keys to authenticated;
create policy api_keys_own_or_staff on public.api_keys for select to authenticated
  using ((select auth.uid()) = user_id or (select app.is_staff()));
create policy api_keys_made_for_oneself on public.api_keys for insert to authenticated
  with check ((select auth.uid()) = user_id);
create policy api_keys_taken_back on public.api_keys for update to authenticated
  using (((select auth.uid()) = user_id or (select app.is_staff())) and revoked_at is null)
  with check (((select auth.uid()) = user_id or (select app.is_staff())) and revoked_at is not null);
do $$ begin
  execute 'create policy api_keys_of_owner on public.api_keys to current_user using (true) with check (true)';
end $$;
"""

# When a key was last used is worth a write a minute, not one for each request.
LOOKUP = """
create function app.key_lookup(hash bytea)
returns table (key_id uuid, user_id uuid, email text, scopes text[])
language plpgsql volatile security definer set search_path = '' as $f$
begin
  update public.api_keys k set last_used_at = now()
   where k.secret_hash = hash and k.revoked_at is null and coalesce(k.expires_at > now(), true)
     and coalesce(k.last_used_at < now() - interval '1 minute', true);
  return query
    select k.id, k.user_id, u.email, k.scopes
      from public.api_keys k cross join lateral app.session_lookup(k.user_id) u
     where k.secret_hash = hash and k.revoked_at is null and coalesce(k.expires_at > now(), true) and u.active;
end $f$;
revoke execute on function app.key_lookup(bytea) from public;
grant execute on function app.key_lookup(bytea) to {console};
"""


def upgrade() -> None:
    driver = op.get_bind().connection.driver_connection
    console = make_url(settings.get().console_database_url.get_secret_value()).username or ""
    for part in (TABLE, ISOLATION):
        driver.execute(part)
    driver.execute(sql.SQL(LOOKUP).format(console=sql.Identifier(console)))
