"""Two tenants × every operation × every login role: the database itself keeps people apart, whatever our code does.

The checks walk the catalogue, so a table, view or function that is added later is checked without being named here;
and each check is run against a database whose protection was taken away, where it must find the leak.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from psycopg import errors, sql

from services import settings as configuration
from services.accounts import sign_in
from services.db.actor import SYSTEM, Actor, Role
from services.db.embedded import EmbeddedPostgres
from services.db.engine import transaction
from services.errors import Forbidden, NotFound
from services.fleet import commands, overview, session
from services.messaging import outbox
from services.messaging.state import State
from tests.conftest import Database, connected

SCHEMAS = ("public", "app", "jobs", "auth")
LOGINS = {"console": "plushify_console", "system": "plushify_system"}

# Who may call which function; one that is not named here may be called by nobody but its owner.
CLAIM_READERS = {"plushify_console", "plushify_system", "authenticated", "service_role"}
CALLERS_OF = {
    "app.is_staff": CLAIM_READERS,
    "app.is_admin": CLAIM_READERS,
    # The index of messages is of it, so whoever writes a row calls it.
    "app.get_message_key": {"authenticated", "service_role"},
    "app.claimed_role": CLAIM_READERS,
    "app.begin_sign_in": {"plushify_console"},
    "app.record_sign_in": {"plushify_console"},
    "app.get_sign_in": {"plushify_console"},
    "app.sign_out": {"plushify_console"},
    "app.revoke_tokens": {"authenticated"},
    "app.store_events": {"plushify_system"},
    "app.count_hits": {"plushify_console"},
    "app.get_api_key": {"plushify_console"},
    "app.count_expired": {"authenticated", "service_role"},
    "app.purge_expired": {"service_role"},
    "app.claim_expired_session": {"service_role"},
    "app.finish_expired_session": {"service_role"},
    "app.release_expired_session": {"service_role"},
    "app.get_session_facts": {"authenticated"},
    "app.get_message_facts": {"authenticated"},
    "app.list_message_acks": {"authenticated"},
    "app.has_break_glass": {"authenticated"},
    "app.tenant_tables": {"authenticated"},
    "app.manages_users": {"authenticated"},
    "app.create_one_time_link": {"authenticated"},
    "app.invite_user": {"authenticated"},
    "app.set_user_role": {"authenticated"},
    "app.set_user_active": {"authenticated"},
    "app.get_one_time_link": {"plushify_console"},
    "app.redeem_one_time_link": {"plushify_console"},
    "app.choose_server": {"authenticated", "service_role"},
    "app.register_servers": {"authenticated", "service_role"},
    "app.claim_media": {"service_role"},
    "app.delete_media": {"service_role"},
    "app.count_uncertain": {"authenticated"},
    "app.record_server_check": {"authenticated", "service_role"},
    "app.record_server_scan": {"authenticated", "service_role"},
    "app.get_quarter": {"service_role"},
    "app.record_metrics": {"plushify_console", "service_role"},
    "app.record_outage": {"service_role"},
    "app.get_or_create_contact": {"service_role"},
    "app.fold_text": {"authenticated", "service_role"},
    "app.get_search_words": {"authenticated", "service_role"},
    "app.search_messages": {"authenticated"},
    "app.list_break_glass_users": {"authenticated"},
    "app.count_unread": {"authenticated"},
}

# How PostgreSQL says no to a write that the isolation does not admit, or that would break the table's own rules.
REFUSALS = (
    errors.InsufficientPrivilege,
    errors.IntegrityError,
    errors.GeneratedAlways,
    errors.ObjectNotInPrerequisiteState,
    errors.FeatureNotSupported,
    errors.InvalidTextRepresentation,
    errors.WrongObjectType,
)

AS_TEXT = sql.SQL("select to_jsonb(x)::text from (select {} from {}) x")


@dataclass(frozen=True)
class Tenant:
    """A person and everything by which a row can name them."""

    actor: Actor
    session_id: UUID | None
    marks: tuple[str, ...]

    def named_in(self, row: object) -> bool:
        return any(mark in str(row) for mark in self.marks)


@dataclass(frozen=True)
class Relation:
    """A table or view, with its columns' names and types."""

    oid: int
    name: str
    kind: str
    columns: tuple[tuple[str, str], ...]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(*self.name.split("."))


@dataclass(frozen=True)
class Caller:
    """Somebody at the door: a login, the role that it takes and the claims that it brings."""

    name: str
    login: str
    role: str = "none"
    claims: str | None = None

    @contextmanager
    def connection(self, database: Database) -> Iterator[psycopg.Connection]:
        with psycopg.connect(login_url(database, self.login), autocommit=True) as connection:
            yield connection

    @contextmanager
    def at_the_door(self, database: Database) -> Iterator[psycopg.Connection]:
        """A connection whose every statement is a transaction of this caller's: for walks of many thousands."""
        with self.connection(database) as connection:
            if self.claims is not None:
                connection.execute("select set_config('request.jwt.claims', %s, false)", [self.claims])
            connection.execute("select set_config('role', %s, false)", [self.role])
            yield connection

    @contextmanager
    def transaction(self, connection: psycopg.Connection) -> Iterator[psycopg.Connection]:
        with connection.transaction():
            connection.execute("select set_config('role', %s, true)", [self.role])
            if self.claims is not None:
                connection.execute("select set_config('request.jwt.claims', %s, true)", [self.claims])
            yield connection


@dataclass
class World:
    """The tenants of one test: `a` attacks, `b` has something of everything, `c` nothing yet, `d` only a session."""

    database: Database
    a: Tenant
    b: Tenant
    c: Tenant
    d: Tenant
    relations: list[Relation] = field(default_factory=list, repr=False)

    def on(self, database: Database) -> "World":
        """The same tenants in a clone of their database."""
        return World(database, self.a, self.b, self.c, self.d, relations_of(database))


def login_url(database: Database, login: str) -> str:
    return database.url.replace("postgres@", f"{LOGINS[login]}@", 1)


def relations_of(database: Database) -> list[Relation]:
    rows = database.execute(
        """
        select c.oid::integer, n.nspname || '.' || c.relname, c.relkind::text,
               json_agg(json_build_array(a.attname, format_type(a.atttypid, null)) order by a.attnum)
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
          join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where n.nspname = any(%s) and c.relkind = any('{r,p,v,m,f}') group by 1, 2, 3 order by 2
        """,
        list(SCHEMAS),
    )
    return [Relation(oid, name, kind, tuple(map(tuple, columns))) for oid, name, kind, columns in rows]


@pytest.fixture
def world(database: Database, new_actor: Callable[..., Actor]) -> World:
    return furnish(database, new_actor)


def furnish(database: Database, new_actor: Callable[[], Actor]) -> World:
    """Two tenants with something in every table, and two whom no unique key protects yet."""
    a, b = (_furnished(database, new_actor()) for _ in range(2))
    c, d = new_actor(), new_actor()
    session_id = connected(database, d)
    database.execute("delete from lanes where session_id = %s", session_id)
    database.execute("insert into rolling_restarts (actor_id) values (%s)", b.actor.user_id)
    database.execute(
        "insert into rolling_restart_items (rolling_restart_id, session_id, user_id, server_url)"
        " select w.id, s.id, s.user_id, s.server_url from rolling_restarts w, whatsapp_sessions s"
    )
    database.execute("insert into fleet_samples values (now(), '{}')")
    database.execute("insert into heartbeats (process, instance) values ('worker', 'here:1')")
    database.execute("insert into cleanup_runs (actor_id, kinds) values (%s, '{codes}')", b.actor.user_id)
    database.execute("insert into wpp_servers (url) values ('http://127.0.0.1:9')")
    database.execute("insert into server_checks (url, steps) values ('http://127.0.0.1:9', 31)")
    database.execute("insert into process_metrics (process, instance, samples) values ('worker', 'here:1', '[]')")
    database.execute("insert into sign_in_attempts (key) values ('\\x00')")
    database.execute("insert into signed_out (sign_in_id, expires_at) values (gen_random_uuid(), now())")
    fourth = Tenant(d, session_id, (str(d.user_id), str(session_id)))
    return World(database, a, b, Tenant(c, None, (str(c.user_id),)), fourth).on(database)


def _furnished(database: Database, actor: Actor) -> Tenant:
    session_id = connected(database, actor)
    name = f"user_{actor.user_id}"
    mark = f"private-{uuid4().hex}"
    database.execute(
        "update whatsapp_sessions set webhook_secret_hash = sha256(%s::bytea), qr_urlcode = %s, qr_code = %s,"
        " phone_code = %s, device_name = %s where id = %s",
        mark.encode(), mark, mark, mark, mark, session_id,
    )  # fmt: skip
    database.execute("insert into accounts (user_id, name) values (%s, %s)", actor.user_id, mark)
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, body, idempotency_key, wpp_id)"
        " values (%s, %s, 'out', 'queued', '5511987654321', %s, 'the-same-key', 'the-same-id')",
        session_id, actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "insert into media (user_id, sha256, mimetype, size) values (%s, sha256(%s::bytea), 'image/png', 1)",
        actor.user_id, mark.encode(),
    )  # fmt: skip
    database.execute(
        "insert into contacts (session_id, user_id, address, name) values (%s, %s, '5511987654321@c.us', %s)",
        session_id, actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "insert into opt_outs (user_id, phone, trigger_word) values (%s, '5511987654321', %s)", actor.user_id, mark
    )
    database.execute(
        "insert into report_buckets select 'quarter', %s, now(), 'out', null, null, null, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0,"
        " 0, 0, 0, 0",
        actor.user_id,
    )
    database.execute("insert into report_times values (%s, now(), 'delivery', 1, 1)", actor.user_id)
    database.execute("insert into report_dirty_buckets (user_id, quarter) values (%s, now())", actor.user_id)
    database.execute(
        "insert into number_checks (session_id, user_id, phone, on_whatsapp, address)"
        " values (%s, %s, '5511987654321', true, %s)",
        session_id, actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "with made as (insert into templates (user_id, name) values (%s, 'Pedido') returning id, user_id)"
        " insert into template_versions (template_id, version, user_id, kind, body, created_by)"
        " select id, 1, user_id, 'chat', %s, user_id from made",
        actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "insert into api_keys (user_id, name, scopes, prefix, secret_hash)"
        " values (%s, %s, array['read'], 'plk_', sha256(%s::bytea))",
        actor.user_id, mark, mark.encode(),
    )  # fmt: skip
    database.execute(
        "insert into rate_limits (key, hits, expires_at) values (sha256(%s::bytea), 1, now())", mark.encode()
    )
    database.execute(
        "insert into session_timeline (session_id, user_id, kind, action) values (%s, %s, 'staff', 'session.connect')",
        session_id, actor.user_id,
    )  # fmt: skip
    database.execute(
        "insert into incidents (session_id, user_id, kind) values (%s, %s, 'zombie')", session_id, actor.user_id
    )
    database.execute(
        "insert into proof_questions (session_id, server_url, phone, reason, certain)"
        " values (%s, 'http://127.0.0.1:9', '5511987654321', 'quiet', true)",
        session_id,
    )
    database.execute(
        "insert into break_glass_grants (actor_id, user_id, scope, reason, expires_at)"
        " values (%s, %s, 'qr', %s, now() + interval '15 minutes')",
        actor.user_id, actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "insert into one_time_links (token_hash, user_id, purpose, created_by, expires_at)"
        " values (sha256(%s::bytea), %s, 'reset', %s, now())",
        mark.encode(), actor.user_id, actor.user_id,
    )  # fmt: skip
    database.execute(
        "insert into webhook_endpoints (user_id, url, secret, kinds) values (%s, %s, %s, '{session.status}')",
        actor.user_id, f"https://{mark}.example.com", f"whsec_{mark}",
    )  # fmt: skip
    database.execute(
        "insert into webhook_deliveries (endpoint_id, user_id, kind, session_id, state)"
        " select id, user_id, 'session.status', %s, 'dead' from webhook_endpoints where user_id = %s",
        session_id, actor.user_id,
    )  # fmt: skip
    database.execute(
        "insert into automations (user_id, kind, words, label) values (%s, 'label', array[%s], %s)",
        actor.user_id,
        mark,
        mark,
    )
    database.execute(
        "insert into automation_uses (automation_id, user_id, contact_id, day, action)"
        " select r.id, r.user_id, c.id, now(), 'labelled'"
        " from automations r join contacts c on c.user_id = r.user_id where r.user_id = %s",
        actor.user_id,
    )
    database.execute(
        "insert into outages (session_id, user_id, from_at, to_at, reason) values (%s, %s, now(), now(), 'session')",
        session_id, actor.user_id,
    )  # fmt: skip
    database.execute(
        "insert into outage_chats (outage_id, address, user_id) select id, %s, user_id from outages"
        " where session_id = %s",
        f"{mark}@c.us", session_id,
    )  # fmt: skip
    database.execute(
        "with made as (insert into schedules (user_id, name, time_zone, first_local_time, recipients)"
        " values (%s, 'x', 'UTC', now(), '[]') returning id, user_id)"
        " insert into schedule_runs (schedule_id, user_id, local_time, due_at, state, reason)"
        " select id, user_id, now(), now() + interval '1 day', 'skipped', %s from made",
        actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "with made as (insert into campaigns (user_id, name, template_id, template_version, opens, closes, cap,"
        " cold_share, pace) values (%s, 'x', gen_random_uuid(), 1, '08:00', '20:00', 1, 1, 1) returning id, user_id)"
        " insert into campaign_recipients (campaign_id, user_id, seq, phone, reason)"
        " select id, user_id, 1, '5511987654321', %s from made",
        actor.user_id, mark,
    )  # fmt: skip
    database.execute(
        "insert into campaign_lanes (user_id, time_zone, waiting_reason) values (%s, 'UTC', %s)", actor.user_id, mark
    )
    database.execute("insert into session_hours values (%s, now(), 1, now())", name)
    database.execute(
        "insert into message_annotations (session_id, wpp_id, kind, author, user_id, occurred_at, value)"
        " values (%s, 'the-same-id', 'edit', 'them', %s, now(), jsonb_build_object('body', %s::text))",
        session_id, actor.user_id, mark,
    )  # fmt: skip
    database.execute("insert into pending_acks (session_id, wpp_id, ack) values (%s, 'parked', 1)", session_id)
    database.execute(
        "insert into events (session, kind, request_id, body) values (%s, 'onmessage', gen_random_uuid(), %s)",
        name, mark,
    )  # fmt: skip
    database.execute(
        "insert into event_dry_runs (event_id, actor_id) select id, %s from events where session = %s",
        actor.user_id, name,
    )  # fmt: skip
    database.execute(
        "insert into audit_log (actor_id, actor_role, action, subject) values (%s, 'user', 'session.connect', %s)",
        actor.user_id, name,
    )  # fmt: skip
    database.execute(
        "insert into security_events (kind, subject, actor_id) values ('webhook_refused', %s, %s)", name, actor.user_id
    )
    database.execute(
        "set search_path = jobs; insert into procrastinate_jobs (queue_name, task_name, args)"
        f" values ('q', 't', jsonb_build_object('user', '{name}'))"
    )
    return Tenant(actor, session_id, (str(actor.user_id), str(session_id), mark))


def callers(world: World) -> list[Caller]:
    """Everybody whom the isolation must hold: the second half has no business here at all."""
    claims = json.dumps(world.a.actor.claims())
    return [
        Caller("tenant A", "console", "authenticated", claims),
        Caller("authenticated without claims", "console", "authenticated"),
        Caller("authenticated with empty claims", "console", "authenticated", ""),
        Caller("authenticated without sub", "console", "authenticated", "{}"),
        Caller("console login", "console"),
        Caller("console login with A's claims", "console", "none", claims),
        Caller("system login", "system"),
        Caller("system login with A's claims", "system", "none", claims),
    ]


def visible(connection: psycopg.Connection, relation: Relation) -> list[Any]:
    """Every row of a relation that the caller at the door can read, by whatever columns they may name."""
    found: list[Any] = []
    readable = connection.execute(
        "select attname from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped"
        " and has_column_privilege(attrelid, attnum, 'select')",
        [relation.oid],
    ).fetchall()
    columns = sql.SQL(", ").join(sql.Identifier(name) for (name,) in readable)
    for wanted in (sql.SQL("*"), columns):
        with contextlib.suppress(errors.InsufficientPrivilege):
            found += connection.execute(AS_TEXT.format(wanted, relation.identifier)).fetchall()
    return found


def read_leaks(world: World, *only: str) -> list[str]:
    """What somebody reads that is not their own, in `only` these relations or in all."""
    leaks = []
    for caller in callers(world):
        with caller.at_the_door(world.database) as connection:
            for relation in (one for one in world.relations if not only or one.name in only):
                for row in visible(connection, relation):
                    own = caller.name == "tenant A" and world.a.named_in(row) and not world.b.named_in(row)
                    if not own:
                        leaks.append(f"{relation.name} read by {caller.name}")
    return sorted(set(leaks))


def write_leaks(world: World, *only: str) -> list[str]:
    """What somebody changes, adds or deletes that is not their own, in `only` these relations or in all."""
    leaks = []
    for caller in callers(world):
        with caller.at_the_door(world.database) as connection:
            for relation in (one for one in world.relations if not only or one.name in only):
                before = fingerprint(world, relation)
                for statement in writes(world, relation):
                    with contextlib.suppress(*REFUSALS):
                        connection.execute(statement)
                if fingerprint(world, relation) != before:
                    leaks.append(f"{relation.name} written by {caller.name}")
    return leaks


def writes(world: World, relation: Relation) -> Iterator[sql.Composed]:
    """Every way to write that one can think of without knowing the table."""
    table = relation.identifier
    others = [str(world.b.actor.user_id), f"user_{world.b.actor.user_id}", str(world.b.session_id)]
    others += [str(world.d.actor.user_id), str(world.d.session_id)]
    for name, kind in relation.columns:
        column = sql.Identifier(name)
        yield sql.SQL("update {} set {} = {}").format(table, column, column)
        yield sql.SQL("update {} set {} = default").format(table, column)
        if kind == "uuid" or name in ("session_id", "session"):
            for value in others:
                yield sql.SQL("update {} set {} = {}").format(table, column, sql.Literal(value))
    for row in _rows_to_forge(world, relation):
        for chosen in _columns_to_forge(world.database, relation):
            listed = sql.SQL(", ").join(map(sql.Identifier, chosen))
            yield sql.SQL("insert into {} ({}) select {} from jsonb_populate_record(null::{}, {})").format(
                table, listed, listed, table, sql.Literal(row)
            )
    yield sql.SQL("delete from {}").format(table)
    yield sql.SQL("truncate {} cascade").format(table)


def _rows_to_forge(world: World, relation: Relation) -> list[str]:
    """A row of B as it is; in the name of C and of D, who have no such row; and in A's own, but with B's session."""
    rows = world.database.execute(f"select to_jsonb(t)::text from {relation.name} t")
    of_b = next((row for (row,) in rows if world.b.named_in(row)), None)
    if of_b is None:
        return [row for (row,) in rows[:1]]
    b = str(world.b.actor.user_id)
    forged = [of_b.replace(b, str(other.actor.user_id)) for other in (world.c, world.d, world.a)]
    forged[1] = forged[1].replace(str(world.b.session_id), str(world.d.session_id))
    return [of_b, *forged]


def _columns_to_forge(database: Database, relation: Relation) -> list[list[str]]:
    """All columns, all but the generated keys, and those that people may name: rights go by columns."""
    names = [name for name, _kind in relation.columns]
    granted = database.execute(
        "select attname from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped"
        " and has_column_privilege('authenticated', attrelid, attnum, 'insert')",
        relation.oid,
    )
    choices = [names, [name for name in names if name not in ("id", "seq")], [name for (name,) in granted]]
    return [choice for choice in choices if choice]


def fingerprint(world: World, relation: Relation) -> list[str]:
    """Every row that is not purely A's, with the transaction that wrote it: even an update to the same shows."""
    if relation.kind not in ("r", "p"):
        return []
    rows = world.database.execute(f"select xmin::text, to_jsonb(t)::text from {relation.name} t order by 2")
    return [
        f"{xmin} {row}"
        for xmin, row in rows
        if any(other.named_in(row) for other in (world.b, world.c, world.d)) or not world.a.named_in(row)
    ]


@contextmanager
def clone(cluster: EmbeddedPostgres, world: World) -> Iterator[World]:
    """A copy of the world's database, to be damaged."""
    name = f"clone_{uuid4().hex}"
    source = world.database.one("select current_database()")
    world.database.let_go()
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name} template {source}")
        yield world.on(Database(cluster.url(name)))
        connection.execute(f"drop database {name} with (force)")


# --- the walk ---------------------------------------------------------------------------------------------------------


def test_it_lets_nobody_read_what_is_not_theirs(world: World) -> None:
    assert read_leaks(world) == []


def test_it_lets_nobody_write_what_is_not_theirs(world: World) -> None:
    assert write_leaks(world) == []


def test_it_lets_a_tenant_read_their_own(world: World) -> None:
    """Without this, a database that refuses everything would pass."""
    caller = callers(world)[0]
    with caller.at_the_door(world.database) as connection:
        own = {one.name for one in world.relations if visible(connection, one)}
    assert own == {
        "public.whatsapp_sessions", "public.lanes", "public.messages", "public.accounts", "public.api_keys",
        "public.session_timeline", "public.incidents", "public.break_glass_grants", "public.media", "public.contacts",
        "public.report_buckets", "public.report_times",
        "public.schedules", "public.schedule_runs", "public.campaigns", "public.campaign_recipients",
        "public.campaign_lanes", "public.opt_outs", "public.number_checks", "public.templates",
        "public.template_versions", "public.message_annotations", "public.webhook_endpoints",
        "public.webhook_deliveries",
        "public.automations", "public.automation_uses", "public.outages", "public.outage_chats",
    }  # fmt: skip


def test_it_walks_tables_that_all_hold_something_of_the_other_tenant(world: World) -> None:
    """A new table needs a row of each tenant in `_furnished`, or the walk would prove nothing about it."""
    for relation in world.relations:
        if relation.name.startswith("public.") and relation.kind in ("r", "p") and "alembic" not in relation.name:
            rows = world.database.execute(f"select to_jsonb(t)::text from {relation.name} t")
            columns = {name for name, _kind in relation.columns}
            linked = columns & {"user_id", "session_id", "actor_id", "session"}
            assert rows, f"{relation.name} is empty"
            assert not linked or any(world.b.named_in(row) for row in rows), f"{relation.name} has nothing of B"


def test_it_finds_the_leak_when_one_table_loses_its_row_level_security(cluster: EmbeddedPostgres, world: World) -> None:
    granted = world.database.execute(
        "select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'"
        " and has_any_column_privilege('authenticated', c.oid, 'select')"
    )
    writable = world.database.execute(
        "select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'"
        " and has_any_column_privilege('authenticated', c.oid, 'update')"
    )
    assert ("whatsapp_sessions",) in granted
    for (table,) in granted:
        world.database.execute(f"alter table public.{table} disable row level security")
        leaks = read_leaks(world, f"public.{table}")
        assert f"public.{table} read by tenant A" in leaks
        assert f"public.{table} read by authenticated without claims" in leaks
        if (table,) in writable:
            with clone(cluster, world) as damaged:
                assert f"public.{table} written by tenant A" in write_leaks(damaged, f"public.{table}")
        world.database.execute(f"alter table public.{table} enable row level security")
    assert read_leaks(world) == []


def test_it_finds_the_leak_when_the_policies_admit_everybody(cluster: EmbeddedPostgres, world: World) -> None:
    with clone(cluster, world) as damaged:
        policies = damaged.database.execute(
            "select policyname, tablename from pg_policies where schemaname = 'public' and 'authenticated' = any(roles)"
        )
        for policy, table in policies:
            damaged.database.execute(f"drop policy {policy} on public.{table}")
            damaged.database.execute(f"create policy {policy} on public.{table} to authenticated using (true)")
        read = [f"public.{table}" for table in ("whatsapp_sessions", "messages", "accounts", "events", "audit_log")]
        leaks = read_leaks(damaged, *read) + write_leaks(damaged, "public.messages", "public.whatsapp_sessions")
    for table in read:
        assert f"{table} read by tenant A" in leaks
    assert "public.messages written by tenant A" in leaks  # inserted in another's name
    assert "public.whatsapp_sessions written by tenant A" in leaks


def test_it_finds_the_leak_when_the_login_role_may_do_what_its_group_may(
    cluster: EmbeddedPostgres, world: World
) -> None:
    with clone(cluster, world) as damaged:
        damaged.database.execute("grant select on all tables in schema public to plushify_console")
        damaged.database.execute("create policy careless on public.messages to plushify_console using (true)")
        assert "public.messages read by console login" in read_leaks(damaged, "public.messages")


def test_it_finds_the_leak_when_a_view_forgets_whose_rows_it_shows(cluster: EmbeddedPostgres, world: World) -> None:
    with clone(cluster, world) as damaged:
        damaged.database.execute("create view app.careless as select user_id, body from public.messages")
        damaged.database.execute("grant select on app.careless to authenticated")
        assert "app.careless read by tenant A" in read_leaks(World.on(damaged, damaged.database), "app.careless")


# --- the catalogue ----------------------------------------------------------------------------------------------------


def unprotected(database: Database) -> list[str]:
    """Tables of `public` whose rows are open to whoever is granted the table. The list of migrations has no tenants:
    row level security without policies keeps it from the API roles, and its owner needs it."""
    rows = database.execute(
        "select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace"
        " and c.relkind = any('{r,p,f}') and not (c.relrowsecurity"
        " and (c.relforcerowsecurity or c.relname = 'alembic_version'))"
    )
    return [name for (name,) in rows]


def test_it_forces_row_level_security_on_every_table(database: Database) -> None:
    assert unprotected(database) == []


@pytest.mark.parametrize(
    "damage",
    [
        "create table public.careless (user_id uuid)",
        "alter table public.messages no force row level security",
        "alter table public.messages disable row level security",
        "create table public.half (session_id uuid); alter table public.half enable row level security",
    ],
)
def test_it_sees_a_table_without_forced_row_level_security(database: Database, damage: str) -> None:
    for statement in damage.split(";"):
        database.execute(statement)
    assert len(unprotected(database)) == 1


def test_it_gives_views_no_more_than_a_staff_check(world: World, new_actor: Callable[..., Actor]) -> None:
    staff = new_actor(Role.OPERATOR)
    with transaction(staff) as tx:
        assert tx.exec_driver_sql("select count(*) from app.directory").scalar_one() >= 3
    with transaction(world.a.actor) as tx:
        assert tx.exec_driver_sql("select count(*) from app.directory").scalar_one() == 0


def callable_functions(database: Database, schemas: tuple[str, ...]) -> dict[str, set[str]]:
    """Function → the roles (of those that we know) that may execute it and reach its schema."""
    roles = ["plushify_console", "plushify_system", "authenticated", "anon", "service_role"]
    rows = database.execute(
        """
        select n.nspname || '.' || p.proname, r.role
          from pg_proc p join pg_namespace n on n.oid = p.pronamespace, unnest(%s::text[]) as r (role)
         where n.nspname = any(%s) and has_function_privilege(r.role, p.oid, 'execute')
        """,
        roles,
        list(schemas),
    )
    found: dict[str, set[str]] = {}
    for name, role in rows:
        found.setdefault(name, set()).add(role)
    return found


def test_it_lets_each_function_be_called_only_by_those_it_is_for(database: Database) -> None:
    assert callable_functions(database, ("public", "app")) == CALLERS_OF


def test_it_lets_only_the_worker_into_the_jobs(database: Database) -> None:
    for role in ("plushify_console", "plushify_system", "authenticated", "anon"):
        assert not database.one("select has_schema_privilege(%s, 'jobs', 'usage')", role)
    assert database.one("select has_schema_privilege('service_role', 'jobs', 'usage')")


def test_it_lets_security_definer_functions_find_names_in_no_schema_of_others(database: Database) -> None:
    loose = database.execute(
        "select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
        " where n.nspname in ('public', 'app') and p.prosecdef"
        " and p.proconfig is distinct from array['search_path=\"\"']"
        " and p.proconfig is distinct from array['search_path=pg_catalog, pg_temp']"
    )
    assert loose == []


@pytest.mark.parametrize("login", LOGINS)
def test_it_gives_a_login_role_no_power_of_its_own(database: Database, login: str) -> None:
    role = LOGINS[login]
    powers = database.execute(
        "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolinherit"
        " from pg_roles where rolname = %s",
        role,
    )
    assert powers == [(False,) * 6]
    owned = "select count(*) from pg_shdepend where refobjid = %s::regrole and deptype = 'o'"
    assert database.one(owned, role) == 0
    groups = database.execute(
        # Distinct: from PostgreSQL 16 on there is a row for each who granted it, and a cluster serves many databases.
        "select distinct roleid::regrole::text from pg_auth_members where member = %s::regrole and not admin_option",
        role,
    )
    assert groups == [({"console": "authenticated", "system": "service_role"}[login],)]
    assert not database.one("select pg_has_role(%s, %s, 'usage')", role, groups[0][0])  # nothing is inherited
    for schema in SCHEMAS:
        assert not database.one("select has_schema_privilege(%s, %s, 'create')", role, schema)


@pytest.mark.parametrize(
    ("login", "forbidden"),
    [
        ("console", ["service_role", "postgres", "plushify_system", "anon", "pg_read_all_data"]),
        ("system", ["authenticated", "postgres", "plushify_console", "anon", "pg_write_all_data"]),
    ],
)
@pytest.mark.parametrize("first", ["none", "own group"])
def test_it_lets_a_login_become_nobody_else(database: Database, login: str, forbidden: list[str], first: str) -> None:
    group = {"console": "authenticated", "system": "service_role"}[login]
    with psycopg.connect(login_url(database, login), autocommit=True) as connection:
        if first == "own group":
            connection.execute(f"set role {group}")
        for role in forbidden:
            for statement in (
                f"set role {role}",
                f"select set_config('role', '{role}', false)",
                f"set session authorization {role}",
                f"grant {role} to {LOGINS[login]}",
            ):
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(statement)
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(f"alter role {LOGINS[login]} bypassrls")
        for change in (
            "alter table public.messages disable row level security",
            "drop policy messages_of_owner on public.messages",
            "create policy mine on public.messages using (true)",
            "create or replace function app.is_staff() returns boolean language sql as 'select true'",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(change)


def test_it_cannot_be_talked_out_of_row_level_security(world: World) -> None:
    caller = callers(world)[0]
    with caller.connection(world.database) as connection, caller.transaction(connection):
        connection.execute("set local row_security = off")
        with pytest.raises(errors.InsufficientPrivilege), connection.transaction():
            connection.execute("select * from public.messages")


@pytest.mark.parametrize("role", ["none", "authenticated"])
def test_it_shows_auth_users_to_no_page(world: World, role: str) -> None:
    caller = Caller("page", "console", role, json.dumps(world.a.actor.claims()))
    with caller.connection(world.database) as connection:
        for column in ("*", "id", "email", "encrypted_password", "count(*)"):
            with pytest.raises(errors.InsufficientPrivilege), caller.transaction(connection):
                connection.execute(f"select {column} from auth.users")


@pytest.mark.parametrize("role", [Role.USER, Role.OPERATOR, Role.ADMIN])
def test_it_shows_webhook_secret_hashes_to_no_person(world: World, new_actor: Callable[..., Actor], role: Role) -> None:
    actor = world.a.actor if role is Role.USER else new_actor(role)
    caller = Caller("person", "console", "authenticated", json.dumps(actor.claims()))
    with caller.connection(world.database) as connection:
        for column in ("webhook_secret_hash", "webhook_secret_previous_hash", "webhook_secret_used_at"):
            for statement in (
                f"select {column} from public.whatsapp_sessions",
                f"select 1 from public.whatsapp_sessions where {column} is null",
                f"select 1 from public.whatsapp_sessions order by {column}",
                f"update public.whatsapp_sessions set failure = {column}::text",
                f"update public.whatsapp_sessions set failure = null returning {column}",
            ):
                with pytest.raises(errors.InsufficientPrivilege), caller.transaction(connection):
                    connection.execute(statement)


def test_it_keeps_messages_from_staff_too(world: World, new_actor: Callable[..., Actor]) -> None:
    for role in (Role.OPERATOR, Role.ADMIN):
        with transaction(new_actor(role)) as tx:
            assert tx.exec_driver_sql("select count(*) from messages").scalar_one() == 0
            assert tx.exec_driver_sql("select count(*) from whatsapp_sessions").scalar_one() == 3


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ADMIN])
def test_it_lets_staff_send_from_nobodys_whatsapp(world: World, new_actor: Callable[..., Actor], role: Role) -> None:
    """Staff see every session, so that only the policy on messages stands in the way."""
    staff = new_actor(role)
    caller = Caller("staff", "console", "authenticated", json.dumps(staff.claims()))
    queue = (
        "insert into messages (session_id, user_id, direction, state, phone, body)"
        " values (%s, %s, 'out', 'queued', '5511987654321', 'x')"
    )
    with caller.connection(world.database) as connection:
        for sender in (staff.user_id, world.b.actor.user_id):
            with pytest.raises(errors.InsufficientPrivilege), caller.transaction(connection):
                connection.execute(queue, [world.b.session_id, sender])


def test_it_revokes_nobody_elses_tokens(world: World) -> None:
    caller = callers(world)[0]
    with caller.connection(world.database) as connection:
        for statement in ("select app.revoke_tokens(%s)", "select app.get_sign_in(%s)"):
            with pytest.raises(errors.InsufficientPrivilege), caller.transaction(connection):
                connection.execute(statement, [world.b.actor.user_id])
    with pytest.raises(Forbidden):
        sign_in.sign_out_everywhere(world.a.actor, world.b.actor.user_id)
    assert world.database.one("select token_version from accounts where user_id = %s", world.b.actor.user_id) == 1


def test_it_has_no_truncate_references_or_trigger_right_for_anybody(database: Database) -> None:
    """Row level security binds none of the three."""
    found = database.execute(
        """
        select c.oid::regclass::text, r.role, k.kind
          from pg_class c, unnest(array['plushify_console', 'plushify_system', 'authenticated', 'anon']) as r (role),
               unnest(array['truncate', 'references', 'trigger']) as k (kind)
         where c.relnamespace in ('public'::regnamespace, 'app'::regnamespace, 'jobs'::regnamespace)
           and c.relkind in ('r', 'p', 'v') and has_table_privilege(r.role, c.oid, k.kind)
        """
    )
    assert found == []


# --- claims -----------------------------------------------------------------------------------------------------------

# PostgreSQL refuses the two kinds of text that JSON can spell and no text of its own can hold.
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
# Values that have power somewhere, in places where they must have none.
TEMPTING = st.sampled_from(
    ["service_role", "postgres", "supabase_admin", "*", "%", "' or true --", "", "user", "ADMIN"]
)
OTHER_ROLES = TEXT.filter(lambda role: role not in ("admin", "operator")) | TEMPTING
CLAIMS = st.fixed_dictionaries(
    {},
    optional={
        "sub": JSON | TEMPTING | st.uuids().map(str),
        "role": JSON | TEMPTING | st.sampled_from(["admin", "operator"]),
        "app_metadata": JSON | st.fixed_dictionaries({"role": OTHER_ROLES | st.lists(st.just("admin"))}),
        "user_metadata": st.fixed_dictionaries({"role": st.just("admin")}),
        "is_staff": st.just(True),
        "raw_app_meta_data": st.just({"role": "admin"}),
    },
)
ON_ONE_DATABASE = examples(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


def seen_with(world: World, claims: str) -> list[Any]:
    """Every row of every relation that `claims` open; a refusal shows none."""
    caller = Caller("with claims", "console", "authenticated", claims)
    seen: list[Any] = []
    with caller.at_the_door(world.database) as connection:
        for relation in world.relations:
            with contextlib.suppress(errors.DataError, errors.ProgrammingError):
                seen += visible(connection, relation)
    return seen


@ON_ONE_DATABASE
@given(claims=CLAIMS.map(json.dumps) | JSON.map(json.dumps) | TEXT)
def test_it_opens_nothing_to_claims_that_nobody_issued(world: World, claims: str) -> None:
    assert seen_with(world, claims) == []


@ON_ONE_DATABASE
@given(claims=CLAIMS)
def test_it_opens_only_their_own_to_a_tenant_whatever_else_they_claim(world: World, claims: dict[str, Any]) -> None:
    seen = seen_with(world, json.dumps({**claims, "sub": str(world.a.actor.user_id)}))
    assert seen
    assert not [row for row in seen if world.b.named_in(row) or not world.a.named_in(row)]


@pytest.mark.parametrize("sub", ["not-a-uuid", "1", "{}", "' or true --", "00000000-0000-0000-0000-00000000000", 7, {}])
def test_it_refuses_a_malformed_sub(world: World, sub: Any) -> None:
    caller = Caller("malformed", "console", "authenticated", json.dumps({"sub": sub}))
    with caller.connection(world.database) as connection:
        for table in ("whatsapp_sessions", "messages", "accounts"):
            with pytest.raises(errors.InvalidTextRepresentation), caller.transaction(connection):
                connection.execute(f"select user_id from public.{table}")


# --- the services -----------------------------------------------------------------------------------------------------


def test_it_answers_a_tenants_services_with_their_own_only(world: World) -> None:
    a, b = world.a.actor, world.b.actor
    mine = session.get(a)
    assert mine is not None
    assert mine.user_id == a.user_id
    assert [one.body in world.a.marks for one in outbox.list_recent(a)] == [True]
    assert overview.get_counts(a) == overview.StatusCounts(1, 0, 0, 1, 0)
    # B's key is nothing to A: neither B's message comes back nor is A's refused.
    sent = outbox.queue(a, "11987654321", "de A", "a-key-of-a")
    theirs = outbox.queue(b, "11987654321", "de B", "a-key-of-a")
    assert (sent.body, theirs.body) == ("de A", "de B")
    assert {one.body for one in outbox.list_recent(a)} == {"de A", world.a.marks[2]}
    assert world.database.one("select session_id from messages where id = %s", sent.id) == world.a.session_id


@pytest.mark.parametrize("call", [session.get, commands.connect, commands.reconnect, commands.disconnect])
def test_it_refuses_a_tenant_another_tenants_session(world: World, call: Callable[..., Any]) -> None:
    before = fingerprint(world, next(one for one in world.relations if one.name == "public.whatsapp_sessions"))
    with pytest.raises(Forbidden):
        call(world.a.actor, world.b.actor.user_id)
    after = fingerprint(world, next(one for one in world.relations if one.name == "public.whatsapp_sessions"))
    assert after == before


def test_it_refuses_a_tenant_the_fleet(world: World) -> None:
    with pytest.raises(Forbidden):
        overview.list_rows(world.a.actor)


def test_it_still_isolates_when_a_service_forgets_to_ask(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is the wall; the services' own checks only make the refusal kinder."""
    for module in (session, commands):
        monkeypatch.setattr(module, "require_owner", lambda actor, user_id: user_id or actor.user_id)
    other = world.b.actor.user_id
    assert session.get(world.a.actor, other) is None
    with pytest.raises(NotFound):
        commands.disconnect(world.a.actor, other)
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as refused:
        _raise_driver_error(lambda: commands.connect(world.a.actor, other))
    assert "row-level security" in str(refused.value)


def _raise_driver_error(call: Callable[[], Any]) -> None:
    try:
        call()
    except Exception as error:  # the outermost layer of this check: it only unwraps
        if isinstance(error.__cause__, psycopg.Error):
            raise error.__cause__ from None
        raise


def test_it_lets_the_worker_see_every_tenant(world: World) -> None:
    """The counterpart: what runs as `service_role` must find everybody's work."""
    with transaction(SYSTEM) as tx:
        queued = tx.exec_driver_sql("select count(*) from messages where state = %s", (State.QUEUED.value,))
        assert queued.scalar_one() == 2


def test_it_connects_each_process_with_its_own_login(database: Database) -> None:
    configured = configuration.get()
    assert LOGINS["console"] in configured.console_database_url.get_secret_value()
    assert LOGINS["system"] in configured.system_database_url.get_secret_value()
