"""The migrations on what there is before them: nothing, a Supabase project, the overview's own table."""

import os
import subprocess
import sys
from uuid import UUID, uuid4

import bcrypt
import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from migrations.schema import SCHEMA, describe
from services import settings as configuration
from services.accounts import credentials, provisioning, sign_in
from services.db.actor import SYSTEM, Actor, Role
from services.db.engine import transaction
from services.db.migrate import SCRIPTS
from services.db.tables.base import metadata
from services.errors import ConfigurationError
from services.fleet import session as fleet_session
from services.fleet.session import Status
from services.messaging import delivery, outbox
from tests.support.databases import Database
from tests.support.empty_databases import EmptyDatabase, plain, supabase
from tests.support.isolation import (
    CALLERS_OF,
    find_read_leaks,
    find_write_leaks,
    get_callers_of_functions,
    list_unprotected_tables,
)
from tests.support.paths import ROOT
from tests.support.tenants import create_tenants
from tests.support.waiting import wait_for

PASSWORD = "uma senha bem longa"


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


# --- up from wherever -------------------------------------------------------------------------------------------------


def test_it_makes_a_schema_that_works_wherever_it_is_made(database: EmptyDatabase) -> None:
    database.migrate()
    assert database.one("select version_num from alembic_version") == ScriptDirectory(SCRIPTS).get_current_head()
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


def test_it_isolates_tenants_wherever_it_is_made(database: EmptyDatabase) -> None:
    database.migrate()
    tenants = create_tenants(database, database.new_user)
    assert find_read_leaks(tenants) == []
    assert find_write_leaks(tenants) == []
    assert list_unprotected_tables(database) == []
    # What is ours; Supabase's own service_role may do anything, and its defaults let it.
    functions = get_callers_of_functions(database, ("public", "app"))
    assert functions == CALLERS_OF


def test_it_leaves_nothing_to_the_public_api_key(database: EmptyDatabase) -> None:
    """On Supabase `anon` gets every right on whatever appears in `public`, and its key is in every browser."""
    database.migrate()
    open_to_anon = database.execute(
        """
        select c.oid::regclass::text, k.kind from pg_class c, unnest(array['select', 'insert', 'update', 'delete',
               'truncate', 'references', 'trigger']) as k (kind)
         where c.relnamespace::regnamespace::text in ('public', 'app', 'jobs') and c.relkind in ('r', 'p', 'v')
           and has_table_privilege('anon', c.oid, k.kind)
        """
    )
    assert open_to_anon == []
    sequences = database.execute(
        """
        select c.oid::regclass::text, r.role from pg_class c, unnest(array['anon', 'authenticated']) as r (role)
         where c.relnamespace::regnamespace::text in ('public', 'app', 'jobs') and c.relkind = 'S'
           and (has_sequence_privilege(r.role, c.oid, 'usage') or has_sequence_privilege(r.role, c.oid, 'update')
                or has_sequence_privilege(r.role, c.oid, 'select'))
        """
    )
    assert sequences == []
    on_versions = "select has_table_privilege(%s, 'alembic_version', 'select')"
    assert [database.one(on_versions, role) for role in ("authenticated", "service_role")] == [False, False]


def test_it_keeps_supabases_users_and_lets_them_sign_in(
    empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = supabase(empty_database, monkeypatch)
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


def test_it_makes_what_supabase_has_where_there_is_nothing(empty_database: EmptyDatabase) -> None:
    assert empty_database.one("select to_regnamespace('auth')") is None
    assert (
        empty_database.one("select count(*) from pg_roles where rolname in ('anon', 'authenticated', 'service_role')")
        == 0
    )
    empty_database.migrate()
    assert empty_database.one("select to_regclass('auth.users')::text") == "auth.users"
    roles = empty_database.execute(
        "select rolname, rolcanlogin, rolbypassrls, rolinherit from pg_roles"
        " where rolname in ('anon', 'authenticated', 'service_role') order by 1"
    )
    assert roles == [(name, False, False, False) for name in ("anon", "authenticated", "service_role")]


# --- the overview's table ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timestamp", ["timestamptz", "timestamp"])
@pytest.mark.parametrize("kind", [plain, supabase], ids=lambda prepare: prepare.__name__)
def test_it_takes_the_overviews_table_over_with_its_rows(
    empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch, kind: object, timestamp: str
) -> None:
    database = kind(empty_database, monkeypatch)  # type: ignore[operator]
    if kind is plain:
        database.migrate("0004_accounts")
    with psycopg.connect(database.owner_url, autocommit=True, options="-c timezone=UTC") as owner:
        owner.execute(OVERVIEW.format(timestamp=timestamp))
    up, waiting, fresh = (database.new_user() for _ in range(3))
    when = "2020-03-01 12:00:00"
    for actor, status, server_url in ((up, "conectado", "http://10.0.0.5:21465"), (waiting, "pareando", None)):
        database.execute(
            "insert into whatsapp_sessions (user_id, session_id, status, qr_code, server_url, last_activity,"
            " created_at, updated_at) values (%s, %s, %s, 'data:image/png;base64,AAAA', %s, %s, %s, %s)",
            actor.user_id, f"user_{actor.user_id}", status, server_url, when, when, when,
        )  # fmt: skip
    database.execute(
        "insert into whatsapp_sessions (user_id, session_id, created_at, updated_at) values (%s, %s, null, null)",
        fresh.user_id, f"user_{fresh.user_id}",
    )  # fmt: skip
    kept = "select user_id, session_id, last_activity at time zone 'UTC' from whatsapp_sessions order by 2"
    as_it_was = "select user_id, session_id, last_activity from whatsapp_sessions order by 2"
    before = database.execute(kept if timestamp == "timestamptz" else as_it_was)
    ids = database.execute("select id from whatsapp_sessions order by id")

    database.migrate()

    assert database.execute(kept) == before
    assert database.execute("select id from whatsapp_sessions order by id") == ids
    assert {actor.user_id: _status(actor) for actor in (up, waiting, fresh)} == {
        up.user_id: Status.CONNECTED,
        waiting.user_id: Status.PAIRING,
        fresh.user_id: Status.DISCONNECTED,
    }
    created = database.one(
        "select created_at at time zone 'UTC' from whatsapp_sessions where user_id = %s and created_at is not null",
        up.user_id,
    )
    assert str(created) == when
    assert _drift(database) == []


def _status(actor: Actor) -> Status:
    session = fleet_session.get(actor)
    assert session is not None
    assert session.qr is None  # an old picture is never shown as a fresh one
    return session.status


def overview(database: EmptyDatabase, *statuses: str) -> list[Actor]:
    """The overview's table with one session for each of `statuses`, then the migrations."""
    database.migrate("0004_accounts")
    database.execute(OVERVIEW.format(timestamp="timestamptz"))
    actors = [database.new_user() for _ in statuses]
    for actor, status in zip(actors, statuses, strict=True):
        database.execute(
            "insert into whatsapp_sessions (user_id, session_id, status, updated_at)"
            " values (%s, %s, %s, now() - interval '1 day')",
            actor.user_id, f"user_{actor.user_id}", status,
        )  # fmt: skip
    database.migrate()
    return actors


def test_it_lets_a_session_of_the_overview_send(empty_database: EmptyDatabase) -> None:
    """Without a lane its message would wait for ever."""
    (actor,) = overview(empty_database, "conectado")
    queued = outbox.queue(actor, "11987654321", "olá", "uma")
    (claimed,), _seen = delivery.claim_lanes(5)
    assert claimed.id == queued.id
    assert claimed.server_url in configuration.get().wppconnect.servers()


def test_it_has_the_overviews_sessions_proved_by_the_worker(empty_database: EmptyDatabase) -> None:
    """What the overview called connected or pairing may be long dead: the server is asked."""
    up, waiting, _down = overview(empty_database, "conectado", "pareando", "desconectado")
    due = empty_database.execute("select user_id from whatsapp_sessions where check_at <= now()")
    assert {user_id for (user_id,) in due} == {up.user_id, waiting.user_id}
    started_long_ago = "select pairing_started_at < now() - interval '1 hour' from whatsapp_sessions where user_id = %s"
    assert empty_database.one(started_long_ago, waiting.user_id)  # so that an attempt that is over counts as over


@pytest.mark.parametrize("kind", [plain, supabase], ids=lambda prepare: prepare.__name__)
def test_it_isolates_tenants_on_the_overviews_table(
    empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch, kind: object
) -> None:
    database = kind(empty_database, monkeypatch)  # type: ignore[operator]
    if kind is plain:
        database.migrate("0004_accounts")
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute(OVERVIEW.format(timestamp="timestamptz"))
    database.migrate()
    tenants = create_tenants(database, database.new_user)
    assert find_read_leaks(tenants) == []
    # The other tables are made as they always are, and tried above.
    assert find_write_leaks(tenants, "public.whatsapp_sessions") == []
    assert list_unprotected_tables(database) == []


# --- again, at once, and in agreement ---------------------------------------------------------------------------------


def test_it_has_nothing_to_do_the_second_time(database: EmptyDatabase) -> None:
    database.migrate()
    before = _schema(database)
    database.migrate()
    assert _schema(database) == before


def test_it_lets_several_starters_at_once_migrate_once(empty_database: EmptyDatabase) -> None:
    command = [sys.executable, "manage.py", "migrate"]
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    with psycopg.connect(empty_database.url, autocommit=True) as another:
        another.execute("select pg_advisory_lock(hashtext('plushify-migrations'))")
        starters = [
            subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for _ in range(3)
        ]
        wait_for(lambda: empty_database.one(waiting) == 3, 30, "all three to wait for the one that migrates")
    for starter in starters:
        said, _ = starter.communicate(timeout=60)
        assert starter.returncode == 0, said.decode()
    assert empty_database.execute("select version_num from alembic_version") == [
        (ScriptDirectory(SCRIPTS).get_current_head(),)
    ]


def test_it_keeps_what_was_migrated_when_a_later_migration_fails(
    empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty_database.migrate("0002_platform")
    before = _schema(empty_database)
    empty_database.execute("create table public.lanes (in_the_way integer)")
    with pytest.raises(Exception, match="already exists"):
        empty_database.migrate()
    empty_database.execute("drop table public.lanes")
    assert _schema(empty_database) == before
    empty_database.migrate()
    assert _drift(empty_database) == []


def test_it_describes_the_tables_as_the_migrations_make_them(database: EmptyDatabase) -> None:
    database.migrate()
    assert _drift(database) == []


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
def test_it_notices_where_tables_and_description_differ(empty_database: EmptyDatabase, change: str) -> None:
    empty_database.migrate()
    empty_database.execute(change)
    assert _drift(empty_database) != []


def _drift(database: Database) -> list[object]:
    """Where `services.db.tables` and the database differ, for the tables that it describes (but no indexes and keys:
    only the migrations know those)."""
    described = {table.name: table for table in metadata.tables.values() if not table.info.get("is_view")}

    def ours(item: object, name: str | None, kind: str, reflected: bool, _other: object) -> bool:
        if kind == "table":
            return name in described
        return kind == "column"

    engine = create_engine(database.url.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.connect() as connection:
        options = {"compare_type": True, "include_object": ours, "include_schemas": False}
        found = compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
    engine.dispose()
    flat = [one for item in found for one in (item if isinstance(item, list) else [item])]
    return [one for one in flat if one[0] != "modify_comment"]


def _schema(database: Database) -> dict[str, list[tuple[object, ...]]]:
    """Everything that a migration could have made, changed or granted."""
    ours = "('public', 'app', 'jobs', 'auth')"
    return {
        "columns": database.execute(
            "select table_schema, table_name, column_name, data_type, column_default, is_nullable"
            f" from information_schema.columns where table_schema in {ours} order by 1, 2, 3"
        ),
        "relations": database.execute(
            "select oid::regclass::text, relacl::text, relrowsecurity, relforcerowsecurity, reloptions::text"
            f" from pg_class where relnamespace::regnamespace::text in {ours} order by 1"
        ),
        "functions": database.execute(
            "select oid::regprocedure::text, prosrc, proacl::text from pg_proc"
            f" where pronamespace::regnamespace::text in {ours} order by 1"
        ),
        "policies": database.execute(f"select * from pg_policies where schemaname in {ours} order by schemaname, 2, 3"),
        "triggers": database.execute("select tgrelid::regclass::text, tgname from pg_trigger order by 1, 2"),
    }


def test_it_keeps_the_schema_for_reading_current(empty_database: EmptyDatabase) -> None:
    empty_database.migrate()
    if os.environ.get("PLUSHIFY_WRITE_SCHEMA"):
        SCHEMA.write_text(describe(empty_database.owner_url))
    assert describe(empty_database.owner_url) == SCHEMA.read_text(), "run: make schema"


def test_it_refuses_a_database_of_before_the_first_release_and_changes_nothing(empty_database: EmptyDatabase) -> None:
    empty_database.execute("create table public.alembic_version (version_num varchar(32) primary key)")
    empty_database.execute("insert into public.alembic_version values ('0041')")
    with pytest.raises(ConfigurationError, match=r"revision 0041.*use an empty database"):
        empty_database.migrate()
    assert empty_database.execute("select tablename from pg_tables where schemaname = 'public'") == [
        ("alembic_version",)
    ]
    assert empty_database.one("select to_regnamespace('app')") is None
