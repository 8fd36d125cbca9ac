"""The migrations on what there is before them: nothing, a Supabase project, the overview's own table."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import bcrypt
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from migrations.ddl import SQL
from migrations.schema import SCHEMA, describe
from services import settings as configuration
from services.accounts import credentials, provisioning, sign_in
from services.db.actor import SYSTEM, Actor, Role, person
from services.db.embedded import EmbeddedPostgres
from services.db.engine import transaction
from services.db.migrate import SCRIPTS, migrate
from services.db.tables.base import metadata
from services.errors import ConfigurationError
from services.fleet import session as fleet_session
from services.fleet.session import Status
from services.messaging import delivery, outbox
from tests.conftest import Database, forget_process_state
from tests.support.databases import speed_up_server
from tests.support.installation import ROOT, wait_for
from tests.test_isolation import CALLERS_OF, callable_functions, furnish, read_leaks, unprotected, write_leaks

OWNER = "project_owner"
PASSWORD = "uma senha bem longa"

# Supabase's own state before anything of ours, as its postgres image and its auth server leave it: the owner of a
# project is no superuser, `auth` is not the owner's, and whatever appears in `public` is open to the API roles.
SUPABASE = """
create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role supabase_auth_admin nologin noinherit createrole;
create role {owner} login nosuperuser createdb createrole {bypass};
do $$ begin
  if current_setting('server_version_num')::integer >= 160000 then
    grant anon, authenticated, service_role to {owner} with admin option;
  end if;
end $$;
grant all on database {database} to {owner};
grant all on schema public to {owner};
grant usage on schema public to anon, authenticated, service_role;
alter default privileges for role {owner} in schema public
  grant all on tables to anon, authenticated, service_role;
alter default privileges for role {owner} in schema public
  grant all on functions to anon, authenticated, service_role;
alter default privileges for role {owner} in schema public
  grant all on sequences to anon, authenticated, service_role;
create schema auth authorization supabase_auth_admin;
grant usage on schema auth to anon, authenticated, service_role, {owner};
set role supabase_auth_admin;
create table auth.users (
  instance_id uuid, id uuid primary key, aud varchar(255), role varchar(255), email varchar(255),
  encrypted_password varchar(255), email_confirmed_at timestamptz, invited_at timestamptz,
  confirmation_token varchar(255), confirmation_sent_at timestamptz, recovery_token varchar(255),
  recovery_sent_at timestamptz, email_change_token_new varchar(255), email_change varchar(255),
  email_change_sent_at timestamptz, last_sign_in_at timestamptz, raw_app_meta_data jsonb, raw_user_meta_data jsonb,
  is_super_admin boolean, created_at timestamptz, updated_at timestamptz, phone text unique default null,
  phone_confirmed_at timestamptz, phone_change text default '', phone_change_token varchar(255) default '',
  phone_change_sent_at timestamptz,
  confirmed_at timestamptz generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
  email_change_token_current varchar(255) default '', email_change_confirm_status smallint default 0,
  banned_until timestamptz, reauthentication_token varchar(255) default '', reauthentication_sent_at timestamptz,
  is_sso_user boolean not null default false, deleted_at timestamptz, is_anonymous boolean not null default false
);
create unique index users_email_partial_key on auth.users (email) where is_sso_user = false;
create function auth.uid() returns uuid language sql stable as $f$
  select coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid
$f$;
grant all on auth.users to {owner};
reset role;
"""
# Supabase switches it on without any policy: its own owner passes by bypassrls, nobody else reads a user.
SUPABASE_RLS = "alter table auth.users enable row level security"

# The overview names columns, types and the policy, no more: so nothing else may be taken for granted.
OVERVIEW = """
create table public.whatsapp_sessions (
  id uuid primary key default gen_random_uuid(),
  user_id uuid references auth.users (id),
  session_id text,
  status text,
  qr_code text,
  server_url text,
  last_activity {timestamp},
  created_at {timestamp} default now(),
  updated_at {timestamp} default now()
);
alter table public.whatsapp_sessions enable row level security;
create policy "Users manage own sessions" on public.whatsapp_sessions using (auth.uid() = user_id);
"""


@dataclass(frozen=True)
class Bare(Database):
    """A database that no migration has seen. `owner_url` is whose the schema will be."""

    owner_url: str

    def migrate(self, revision: str = "head") -> None:
        migrate(self.owner_url, revision)

    def users(self) -> list[tuple[object, ...]]:
        return self.execute("select to_jsonb(u)::text from auth.users u order by id")

    def new_user(self, role: Role = Role.USER) -> Actor:
        user_id = uuid4()
        address = f"{user_id}@example.com"
        self.execute(
            "insert into auth.users (id, email, raw_app_meta_data)"
            " values (%s, %s, jsonb_build_object('role', %s::text))",
            user_id,
            address,
            str(role),
        )
        return person(user_id, role, address)


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """A server of its own: roles belong to a whole server, and here they must be missing, or different."""
    binaries = os.environ.get("PLUSHIFY_TEST_PG_BIN")
    folder = Path(tempfile.mkdtemp(prefix="plushify-migrations-"))
    folder.chmod(0o755)
    with EmbeddedPostgres(folder, Path(binaries) if binaries else None) as running:
        speed_up_server(running)
        yield running
    shutil.rmtree(folder)


@pytest.fixture
def bare(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bare]:
    """A new database on a server without any role of ours; its owner is a superuser."""
    name = f"bare_{uuid4().hex}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name}")
        for variable in configuration.Settings.model_fields:
            monkeypatch.delenv(variable.upper(), raising=False)
        monkeypatch.setenv("DATABASE_URL", server.url(name))
        monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
        forget_process_state()
        yield Bare(server.url(name), server.url(name))
        forget_process_state()
        connection.execute(f"drop database {name} with (force)")
        roles = connection.execute(
            "select rolname from pg_roles where rolname !~ '^pg_' and rolname <> 'postgres'"
        ).fetchall()
        connection.execute("; ".join(f"drop owned by {role}; drop role {role}" for (role,) in roles) or "select 1")


def owned_by_a_plain_role(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> Bare:
    """The database of somebody who may create roles and databases, and nothing else: a usual managed PostgreSQL."""
    bare.execute(f"create role {OWNER} login nosuperuser createdb createrole")
    name = bare.one("select current_database()")
    bare.execute(f"alter database {name} owner to {OWNER}")
    return _use_owner(bare, monkeypatch)


def supabase(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> Bare:
    """The database of a Supabase project."""
    name = bare.one("select current_database()")
    bare.execute(SUPABASE.format(owner=OWNER, database=name, bypass="bypassrls"))
    bare.execute(SUPABASE_RLS)
    return _use_owner(bare, monkeypatch)


def managed_auth(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> Bare:
    """The same where the owner does not get past row level security."""
    name = bare.one("select current_database()")
    bare.execute(SUPABASE.format(owner=OWNER, database=name, bypass="nobypassrls"))
    return _use_owner(bare, monkeypatch)


def _use_owner(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> Bare:
    owner_url = bare.url.replace("postgres@", f"{OWNER}@", 1)
    monkeypatch.setenv("DATABASE_URL", owner_url)
    forget_process_state()
    return Bare(bare.url, owner_url)


def plain(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> Bare:
    """The embedded database: its owner is a superuser."""
    return bare


@pytest.fixture(params=[plain, owned_by_a_plain_role, supabase, managed_auth], ids=lambda place: place.__name__)
def place(request: pytest.FixtureRequest, bare: Bare, monkeypatch: pytest.MonkeyPatch) -> Bare:
    """Each kind of database that the product may find."""
    found: Bare = request.param(bare, monkeypatch)
    return found


# --- up from wherever -------------------------------------------------------------------------------------------------


def test_it_makes_a_schema_that_works_wherever_it_is_made(place: Bare) -> None:
    place.migrate()
    assert place.one("select version_num from alembic_version") == ScriptDirectory(SCRIPTS).get_current_head()
    provisioning.create_user("ana@example.com", PASSWORD, Role.USER, "Ana")
    with pytest.raises(credentials.EmailTaken):
        provisioning.create_user("ANA@example.com", PASSWORD, Role.USER)
    account = sign_in.get_account(sign_in.sign_in("ana@example.com", PASSWORD))
    assert account is not None
    assert (account.name, account.actor.role) == ("Ana", Role.USER)
    actor = account.actor
    with transaction(actor) as tx:
        tx.exec_driver_sql(
            "insert into whatsapp_sessions (user_id, session_id, status, server_url) values (%s, %s, 'conectado', 'x')",
            (actor.user_id, f"user_{actor.user_id}"),
        )
        tx.exec_driver_sql("insert into lanes (session_id) select id from whatsapp_sessions")
    outbox.queue(actor, "11987654321", "olá", "uma")
    (claimed,), _seen = delivery.claim_lanes(5)
    assert claimed.body == "olá"
    sign_in.sign_out_everywhere(actor)
    with transaction(SYSTEM) as tx:
        assert tx.exec_driver_sql("select count(*) from security_events").scalar_one() >= 2


def test_it_isolates_tenants_wherever_it_is_made(place: Bare) -> None:
    place.migrate()
    world = furnish(place, place.new_user)
    assert read_leaks(world) == []
    assert write_leaks(world) == []
    assert unprotected(place) == []
    # What is ours; Supabase's own service_role may do anything, and its defaults let it.
    functions = callable_functions(place, ("public", "app"))
    assert functions == CALLERS_OF


def test_it_leaves_nothing_to_the_public_api_key(place: Bare) -> None:
    """On Supabase `anon` gets every right on whatever appears in `public`, and its key is in every browser."""
    place.migrate()
    open_to_anon = place.execute(
        """
        select c.oid::regclass::text, k.kind from pg_class c, unnest(array['select', 'insert', 'update', 'delete',
               'truncate', 'references', 'trigger']) as k (kind)
         where c.relnamespace::regnamespace::text in ('public', 'app', 'jobs') and c.relkind in ('r', 'p', 'v')
           and has_table_privilege('anon', c.oid, k.kind)
        """
    )
    assert open_to_anon == []
    sequences = place.execute(
        """
        select c.oid::regclass::text, r.role from pg_class c, unnest(array['anon', 'authenticated']) as r (role)
         where c.relnamespace::regnamespace::text in ('public', 'app', 'jobs') and c.relkind = 'S'
           and (has_sequence_privilege(r.role, c.oid, 'usage') or has_sequence_privilege(r.role, c.oid, 'update')
                or has_sequence_privilege(r.role, c.oid, 'select'))
        """
    )
    assert sequences == []
    on_versions = "select has_table_privilege(%s, 'alembic_version', 'select')"
    assert [place.one(on_versions, role) for role in ("authenticated", "service_role")] == [False, False]


def test_it_keeps_supabases_users_and_lets_them_sign_in(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    project = supabase(bare, monkeypatch)
    user_id = uuid4()
    hashed = bcrypt.hashpw(
        PASSWORD.encode(), bcrypt.gensalt(10, prefix=b"2a")
    ).decode()  # as Supabase's server makes them
    project.execute(
        "insert into auth.users (id, instance_id, aud, role, email, encrypted_password, email_confirmed_at,"
        " raw_app_meta_data, confirmation_token, created_at) values (%s, %s, 'authenticated', 'authenticated',"
        """ 'Bia@Example.com', %s, now(), '{"provider": "email"}', '', now())""",
        user_id, UUID(int=0), hashed,
    )  # fmt: skip
    project.execute("insert into auth.users (id, email) values (%s, null)", uuid4())
    before = project.users()
    owner_before = project.execute(
        "select relowner::regrole::text, relrowsecurity from pg_class where relname = 'users'"
    )
    uid_before = project.one("select prosrc from pg_proc where oid = 'auth.uid()'::regprocedure")
    roles_before = project.execute("select * from pg_roles where rolname !~ '^(pg_|plushify)' order by rolname")
    project.migrate()
    assert project.users() == before
    assert project.one("select prosrc from pg_proc where oid = 'auth.uid()'::regprocedure") == uid_before
    assert (
        project.execute("select relowner::regrole::text, relrowsecurity from pg_class where relname = 'users'")
        == owner_before
    )
    assert project.execute("select * from pg_roles where rolname !~ '^(pg_|plushify)' order by rolname") == roles_before
    signed_in = sign_in.sign_in("bia@example.com", PASSWORD)
    account = sign_in.get_account(signed_in)
    assert account is not None
    assert account.actor.user_id == user_id
    assert account.actor.role is Role.USER


def test_it_makes_what_supabase_has_where_there_is_nothing(bare: Bare) -> None:
    assert bare.one("select to_regnamespace('auth')") is None
    assert bare.one("select count(*) from pg_roles where rolname in ('anon', 'authenticated', 'service_role')") == 0
    bare.migrate()
    assert bare.one("select to_regclass('auth.users')::text") == "auth.users"
    roles = bare.execute(
        "select rolname, rolcanlogin, rolbypassrls, rolinherit from pg_roles"
        " where rolname in ('anon', 'authenticated', 'service_role') order by 1"
    )
    assert roles == [(name, False, False, False) for name in ("anon", "authenticated", "service_role")]


# --- the overview's table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timestamp", ["timestamptz", "timestamp"])
@pytest.mark.parametrize("kind", [plain, supabase], ids=lambda place: place.__name__)
def test_it_takes_the_overviews_table_over_with_its_rows(
    bare: Bare, monkeypatch: pytest.MonkeyPatch, kind: object, timestamp: str
) -> None:
    place = kind(bare, monkeypatch)  # type: ignore[operator]
    if kind is plain:
        place.migrate("0004_accounts")
    with psycopg.connect(place.owner_url, autocommit=True, options="-c timezone=UTC") as owner:
        owner.execute(OVERVIEW.format(timestamp=timestamp))
    up, waiting, fresh = (place.new_user() for _ in range(3))
    when = "2020-03-01 12:00:00"
    for actor, status, server_url in ((up, "conectado", "http://10.0.0.5:21465"), (waiting, "pareando", None)):
        place.execute(
            "insert into whatsapp_sessions (user_id, session_id, status, qr_code, server_url, last_activity,"
            " created_at, updated_at) values (%s, %s, %s, 'data:image/png;base64,AAAA', %s, %s, %s, %s)",
            actor.user_id, f"user_{actor.user_id}", status, server_url, when, when, when,
        )  # fmt: skip
    place.execute(
        "insert into whatsapp_sessions (user_id, session_id, created_at, updated_at) values (%s, %s, null, null)",
        fresh.user_id, f"user_{fresh.user_id}",
    )  # fmt: skip
    kept = "select user_id, session_id, last_activity at time zone 'UTC' from whatsapp_sessions order by 2"
    as_it_was = "select user_id, session_id, last_activity from whatsapp_sessions order by 2"
    before = place.execute(kept if timestamp == "timestamptz" else as_it_was)
    ids = place.execute("select id from whatsapp_sessions order by id")

    place.migrate()

    assert place.execute(kept) == before
    assert place.execute("select id from whatsapp_sessions order by id") == ids
    assert {actor.user_id: _status(actor) for actor in (up, waiting, fresh)} == {
        up.user_id: Status.CONNECTED,
        waiting.user_id: Status.PAIRING,
        fresh.user_id: Status.DISCONNECTED,
    }
    created = place.one(
        "select created_at at time zone 'UTC' from whatsapp_sessions where user_id = %s and created_at is not null",
        up.user_id,
    )
    assert str(created) == when
    assert _drift(place) == []


def _status(actor: Actor) -> Status:
    session = fleet_session.get(actor)
    assert session is not None
    assert session.qr is None  # an old picture is never shown as a fresh one
    return session.status


def overview(place: Bare, *statuses: str) -> list[Actor]:
    """The overview's table with one session for each of `statuses`, then the migrations."""
    place.migrate("0004_accounts")
    place.execute(OVERVIEW.format(timestamp="timestamptz"))
    actors = [place.new_user() for _ in statuses]
    for actor, status in zip(actors, statuses, strict=True):
        place.execute(
            "insert into whatsapp_sessions (user_id, session_id, status, updated_at)"
            " values (%s, %s, %s, now() - interval '1 day')",
            actor.user_id, f"user_{actor.user_id}", status,
        )  # fmt: skip
    place.migrate()
    return actors


def test_it_lets_a_session_of_the_overview_send(bare: Bare) -> None:
    """Without a lane its message would wait for ever."""
    (actor,) = overview(bare, "conectado")
    queued = outbox.queue(actor, "11987654321", "olá", "uma")
    (claimed,), _seen = delivery.claim_lanes(5)
    assert claimed.id == queued.id
    assert claimed.server_url in configuration.get().servers()


def test_it_has_the_overviews_sessions_proved_by_the_worker(bare: Bare) -> None:
    """What the overview called connected or pairing may be long dead: the server is asked."""
    up, waiting, _down = overview(bare, "conectado", "pareando", "desconectado")
    due = bare.execute("select user_id from whatsapp_sessions where check_at <= now()")
    assert {user_id for (user_id,) in due} == {up.user_id, waiting.user_id}
    started_long_ago = "select pairing_started_at < now() - interval '1 hour' from whatsapp_sessions where user_id = %s"
    assert bare.one(started_long_ago, waiting.user_id)  # so that an attempt that is over counts as over


@pytest.mark.parametrize("kind", [plain, supabase], ids=lambda place: place.__name__)
def test_it_isolates_tenants_on_the_overviews_table(bare: Bare, monkeypatch: pytest.MonkeyPatch, kind: object) -> None:
    place = kind(bare, monkeypatch)  # type: ignore[operator]
    if kind is plain:
        place.migrate("0004_accounts")
    with psycopg.connect(place.owner_url, autocommit=True) as owner:
        owner.execute(OVERVIEW.format(timestamp="timestamptz"))
    place.migrate()
    world = furnish(place, place.new_user)
    assert read_leaks(world) == []
    # The other tables are made as they always are, and walked above.
    assert write_leaks(world, "public.whatsapp_sessions") == []
    assert unprotected(place) == []


# --- again, at once, and in agreement ---------------------------------------------------------------------------------


def test_it_has_nothing_to_do_the_second_time(place: Bare) -> None:
    place.migrate()
    before = _schema(place)
    place.migrate()
    assert _schema(place) == before


def test_it_lets_several_starters_at_once_migrate_once(bare: Bare) -> None:
    command = [sys.executable, "manage.py", "migrate"]
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    with psycopg.connect(bare.url, autocommit=True) as another:
        another.execute("select pg_advisory_lock(hashtext('plushify-migrations'))")
        starters = [
            subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for _ in range(3)
        ]
        wait_for(lambda: bare.one(waiting) == 3, 30, "all three to wait for the one that migrates")
    for starter in starters:
        said, _ = starter.communicate(timeout=60)
        assert starter.returncode == 0, said.decode()
    assert bare.execute("select version_num from alembic_version") == [(ScriptDirectory(SCRIPTS).get_current_head(),)]


def test_it_keeps_what_was_migrated_when_a_later_migration_fails(bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    bare.migrate("0002_platform")
    before = _schema(bare)
    bare.execute("create table public.lanes (in_the_way integer)")
    with pytest.raises(Exception, match="already exists"):
        bare.migrate()
    bare.execute("drop table public.lanes")
    assert _schema(bare) == before
    bare.migrate()
    assert _drift(bare) == []


def test_it_describes_the_tables_as_the_migrations_make_them(place: Bare) -> None:
    place.migrate()
    assert _drift(place) == []


@pytest.mark.parametrize(
    "change",
    [
        "alter table messages drop column contact_name",
        "alter table messages add column extra text",
        "alter table messages alter column filename type integer using 1",
        "alter table messages alter column phone drop not null",
        "drop table heartbeats cascade",
    ],
)
def test_it_notices_where_tables_and_description_differ(bare: Bare, change: str) -> None:
    bare.migrate()
    bare.execute(change)
    assert _drift(bare) != []


def _drift(place: Database) -> list[object]:
    """Where `services.db.tables` and the database differ, for the tables that it describes (but no indexes and keys:
    only the migrations know those)."""
    described = {table.name: table for table in metadata.tables.values() if not table.info.get("is_view")}

    def ours(item: object, name: str | None, kind: str, reflected: bool, _other: object) -> bool:
        if kind == "table":
            return name in described
        return kind == "column"

    engine = create_engine(place.url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as connection:
        options = {"compare_type": True, "include_object": ours, "include_schemas": False}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    engine.dispose()
    flat = [one for item in found for one in (item if isinstance(item, list) else [item])]
    return [one for one in flat if one[0] != "modify_comment"]


def _schema(place: Database) -> dict[str, list[tuple[object, ...]]]:
    """Everything that a migration could have made, changed or granted."""
    ours = "('public', 'app', 'jobs', 'auth')"
    return {
        "columns": place.execute(
            "select table_schema, table_name, column_name, data_type, column_default, is_nullable"
            f" from information_schema.columns where table_schema in {ours} order by 1, 2, 3"
        ),
        "relations": place.execute(
            "select oid::regclass::text, relacl::text, relrowsecurity, relforcerowsecurity, reloptions::text"
            f" from pg_class where relnamespace::regnamespace::text in {ours} order by 1"
        ),
        "functions": place.execute(
            "select oid::regprocedure::text, prosrc, proacl::text from pg_proc"
            f" where pronamespace::regnamespace::text in {ours} order by 1"
        ),
        "policies": place.execute(f"select * from pg_policies where schemaname in {ours} order by schemaname, 2, 3"),
        "triggers": place.execute("select tgrelid::regclass::text, tgname from pg_trigger order by 1, 2"),
    }


# --- what they are written in -----------------------------------------------------------------------------------------

# Words that came after PostgreSQL 15, with the version that they came with.
NEWER = {
    r"\bany_value\s*\(": 16,
    r"\bsystem_user\b": 16,
    r"\bis\s+json\b": 16,
    r"\bjson_arrayagg\s*\(": 16,
    r"\bjson_objectagg\s*\(": 16,
    r"\bwith\s+(inherit|set)\s+(true|false|option)\b": 16,
    r"\bjson_table\s*\(": 17,
    r"\bjson_query\s*\(": 17,
    r"\bjson_exists\s*\(": 17,
    r"\bmerge\b.*\breturning\b": 17,
    r"\bon_error\b": 17,
    r"\buuidv7\s*\(": 18,
    r"\breturning\s+(with\s*\(|old\.|new\.)": 18,
    r"\bgenerated\s+always\s+as\s*\([^)]*\)\s+virtual\b": 18,
    r"\bwithout\s+overlaps\b": 18,
    r"\bnot\s+enforced\b": 18,
    r"\bcasefold\s*\(": 18,
}


def newer_than_15(source: str) -> list[str]:
    """The words in a module's text literals that PostgreSQL 15 does not know."""
    texts = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return [pattern for pattern in NEWER for text in texts if re.search(pattern, text, re.IGNORECASE | re.DOTALL)]


@pytest.mark.parametrize("path", sorted((SCRIPTS / "versions").glob("*.py")), ids=lambda path: path.stem)
def test_it_is_written_for_postgresql_15(path: Path) -> None:
    assert newer_than_15(path.read_text()) == []


def test_its_functions_are_written_for_postgresql_15() -> None:
    for path in sorted(SQL.glob("*.sql")):
        assert newer_than_15(f"SQL = {path.read_text()!r}") == [], path.name


def test_it_installs_every_file_of_sql_and_nothing_else() -> None:
    installed = [
        argument.value
        for path in (SCRIPTS / "versions").glob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "install"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]
    assert sorted(set(installed)) == sorted(path.stem for path in SQL.glob("*.sql"))


def test_it_never_runs_as_its_definer_with_a_search_path_of_the_caller(place: Bare) -> None:
    place.migrate()
    open_paths = place.execute(
        "select proname from pg_proc where pronamespace = 'app'::regnamespace and prosecdef"
        " and not coalesce('search_path=pg_catalog, pg_temp' = any(proconfig), false)"
    )
    assert open_paths == []


def test_it_keeps_the_schema_for_reading_current(bare: Bare) -> None:
    bare.migrate()
    if os.environ.get("PLUSHIFY_WRITE_SCHEMA"):
        SCHEMA.write_text(describe(bare.owner_url))
    assert describe(bare.owner_url) == SCHEMA.read_text(), "run: make schema"


def test_it_refuses_a_database_of_before_the_first_release_and_changes_nothing(bare: Bare) -> None:
    bare.execute("create table public.alembic_version (version_num varchar(32) primary key)")
    bare.execute("insert into public.alembic_version values ('0041')")
    with pytest.raises(ConfigurationError, match=r"revision 0041.*use an empty database"):
        bare.migrate()
    assert bare.execute("select tablename from pg_tables where schemaname = 'public'") == [("alembic_version",)]
    assert bare.one("select to_regnamespace('app')") is None


def test_it_finds_what_is_newer_than_postgresql_15() -> None:
    for text in ("select uuidv7()", "merge into t using s on true when matched then delete returning t.id"):
        assert newer_than_15(f"SQL = {text!r}")


def test_it_goes_up_in_one_line() -> None:
    script = ScriptDirectory(SCRIPTS)
    assert len(script.get_heads()) == 1
    names = sorted(path.stem for path in (SCRIPTS / "versions").glob("*.py"))
    assert [one.revision for one in reversed(list(script.walk_revisions()))] == names
