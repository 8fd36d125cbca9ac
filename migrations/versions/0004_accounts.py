"""Accounts beside `auth.users` (which on Supabase is not ours to alter): sign-in, lock-out, one-time links, API keys.

What sign-in must read before anybody is known goes through functions that run as the owner of the database, and that
only the console's login may call. Users are managed through functions, too: they ask for an admin themselves, so that
the console's login reaches no further than they do.
"""

from psycopg import sql

from migrations.ddl import console_login, execute, install, tenant_table

revision = "0004_accounts"
down_revision = "0003_security"
branch_labels = None
depends_on = None

ACCOUNTS = """
create table public.accounts (
  user_id uuid primary key references auth.users (id) on delete cascade,
  name text,
  active boolean not null default true,
  token_version integer not null default 1,
  updated_at timestamptz not null default now()
);
comment on table public.accounts is 'what the console knows of a user beyond auth.users; no row means the defaults';
"""

SIGN_IN = """
create table public.sign_in_attempts (
  id bigint generated always as identity primary key,
  key bytea not null,
  ip text,
  succeeded boolean not null default false,
  occurred_at timestamptz not null default clock_timestamp()
);
create index sign_in_attempts_key on public.sign_in_attempts (key, occurred_at desc);
create index sign_in_attempts_ip on public.sign_in_attempts (ip, occurred_at desc)
  where ip is not null and not succeeded;
create index sign_in_attempts_at on public.sign_in_attempts (occurred_at);
comment on column public.sign_in_attempts.key is 'sha256 of the lower-case e-mail: people type passwords into that box';

create table public.signed_out (
  sign_in_id uuid primary key,
  expires_at timestamptz not null
);
create index signed_out_expiry on public.signed_out (expires_at);
comment on table public.signed_out is 'sign-ins that ended before their token expires: copies of it are worthless';
"""

# Nobody but the functions below reads or writes here.
ONE_TIME_LINKS = """
create table public.one_time_links (
  token_hash bytea primary key,
  user_id uuid not null references auth.users (id) on delete cascade,
  purpose text not null check (purpose in ('invite', 'reset')),
  created_by uuid not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz not null
);
create index one_time_links_user on public.one_time_links (user_id);
alter table public.one_time_links enable row level security;
alter table public.one_time_links force row level security;
revoke all on public.one_time_links from public, anon, authenticated, service_role;
create policy one_time_links_of_database_owner on public.one_time_links to current_user using (true) with check (true);
"""

# How a machine proves for which user it speaks.
API_KEYS = """
create table public.api_keys (
  id uuid primary key default gen_random_uuid(),
  user_id uuid not null references auth.users (id) on delete cascade,
  name text not null check (length(name) between 1 and 80),
  scopes text[] not null check (cardinality(scopes) > 0 and scopes <@ array['read', 'send', 'session']),
  prefix text not null,
  secret_hash bytea not null check (length(secret_hash) = 32),
  created_at timestamptz not null default now(),
  last_used_at timestamptz,
  expires_at timestamptz,
  revoked_at timestamptz
);
create unique index api_keys_secret on public.api_keys (secret_hash);
create index api_keys_of_user on public.api_keys (user_id, created_at desc);
comment on column public.api_keys.prefix is 'the first characters of the key, by which its owner knows it again';
comment on column public.api_keys.secret_hash is 'sha256 of 256 random bits: nobody guesses those';
"""

# A person makes keys for themselves and takes them back; staff may take anybody's back. Nobody reads the hash, and
# nothing but the revocation ever changes. The system has no business here.
API_KEY_RIGHTS = """
alter table public.api_keys enable row level security;
alter table public.api_keys force row level security;
revoke all on public.api_keys from public, anon, authenticated, service_role;
create policy api_keys_of_database_owner on public.api_keys to current_user using (true) with check (true);

grant select (id, user_id, name, scopes, prefix, created_at, last_used_at, expires_at, revoked_at),
  insert (user_id, name, scopes, prefix, secret_hash, expires_at),
  update (revoked_at) on public.api_keys to authenticated;
create policy api_keys_own_or_staff on public.api_keys for select to authenticated
  using ((select auth.uid()) = user_id or (select app.is_staff()));
create policy api_keys_made_for_oneself on public.api_keys for insert to authenticated
  with check ((select auth.uid()) = user_id);
create policy api_keys_taken_back on public.api_keys for update to authenticated
  using (((select auth.uid()) = user_id or (select app.is_staff())) and revoked_at is null)
  with check (((select auth.uid()) = user_id or (select app.is_staff())) and revoked_at is not null);
"""

CONSOLE_RIGHTS = """
grant execute on function app.begin_sign_in, app.record_sign_in, app.get_sign_in, app.sign_out, app.get_one_time_link,
  app.redeem_one_time_link, app.get_api_key to {console};
"""


def upgrade() -> None:
    execute(ACCOUNTS)
    tenant_table("accounts", read_by="owner_or_staff", system="select, insert, update", definer="all")
    execute(SIGN_IN)
    tenant_table("sign_in_attempts", read_by="nobody", system="select, delete", definer="all")
    tenant_table("signed_out", read_by="nobody", system="select, delete", definer="all")
    execute(ONE_TIME_LINKS)
    execute(API_KEYS)
    execute(API_KEY_RIGHTS)
    install("parse_role", "directory", "notify_account")
    install("email_key", "locked_until", "begin_sign_in", "record_sign_in", "get_sign_in", "sign_out", "revoke_tokens")
    install("manages_users", "require_manager", "require_other_admin", "set_user_role", "set_user_active")
    install("create_one_time_link", "invite_user", "get_one_time_link", "redeem_one_time_link")
    install("get_api_key")
    execute(sql.SQL(CONSOLE_RIGHTS).format(console=console_login()))
