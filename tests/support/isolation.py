"""Everybody who may come to the database, and what of others' they can read or write there."""

import contextlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import errors, sql

from services.db.embedded import EmbeddedPostgres
from tests.support.databases import Database
from tests.support.tenants import Relation, Tenants

LOGINS = {"console": "plushify_console", "system": "plushify_system"}
# Who may call which function; one that is not named here may be called by nobody but its owner.
CLAIM_READERS = {"plushify_console", "plushify_system", "authenticated", "service_role"}
CALLERS_OF = {
    "app.is_staff": CLAIM_READERS,
    "app.is_admin": CLAIM_READERS,
    # The index of messages is of it, so whoever writes a row calls it.
    "app.get_address_key": {"authenticated", "service_role"},
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
    # The index of messages is of it, too.
    "app.is_written": {"authenticated", "service_role"},
    "app.add_opt_out": {"authenticated"},
    "app.end_opt_out": {"authenticated"},
    "app.note_opt_in": {"service_role"},
    "app.note_opt_out": {"service_role"},
    "app.claim_annotations": {"service_role"},
    "app.find_message": {"service_role"},
    "app.get_contact_of_message": {"service_role"},
    "app.get_or_create_contact": {"service_role"},
    "app.join_contacts": {"service_role"},
    "app.mark_read_on_phone": {"service_role"},
    "app.may_be_one_person": {"service_role"},
    "app.move_annotations": {"service_role"},
    "app.recount_unread": {"service_role"},
    "app.count_number_questions": {"authenticated", "service_role"},
    "app.count_number_usage": {"authenticated", "service_role"},
    "app.get_line_of_user": {"authenticated", "service_role"},
    "app.list_users_of_number": {"service_role"},
    "app.fold_text": {"authenticated", "service_role"},
    "app.get_search_words": {"authenticated", "service_role"},
    "app.search_messages": {"authenticated"},
    "app.list_break_glass_users": {"authenticated"},
    "app.count_unread": {"authenticated"},
}
# How PostgreSQL says no to a write that the isolation does not admit, or that would break the table's own rules.
REFUSALS = (
    errors.InsufficientPrivilege.sqlstate,
    errors.GeneratedAlways.sqlstate,
    errors.ObjectNotInPrerequisiteState.sqlstate,
    errors.FeatureNotSupported.sqlstate,
    errors.InvalidTextRepresentation.sqlstate,
    errors.WrongObjectType.sqlstate,
)
TRY_EACH = sql.SQL("""
do $try$
declare statement text;
begin
  set constraints all immediate;  -- what is put off to the end would end all of them
  foreach statement in array {}::text[] loop
    begin
      execute statement;
    exception when others then
      if sqlstate <> all ({}::text[]) and sqlstate not like '23%' then  -- 23: a rule of the table's own
        raise;
      end if;
    end;
  end loop;
end $try$
""")
AS_TEXT = sql.SQL("select to_jsonb(x)::text from (select {} from {}) x")


@dataclass(frozen=True)
class Caller:
    """Somebody who comes to the database: a login, the role that it takes and the claims that it brings."""

    name: str
    login: str
    role: str = "none"
    claims: str | None = None

    @contextmanager
    def connection(self, database: Database) -> Iterator[psycopg.Connection]:
        with psycopg.connect(login_url(database, self.login), autocommit=True) as connection:
            yield connection

    @contextmanager
    def session(self, database: Database) -> Iterator[psycopg.Connection]:
        """A connection whose every statement is a transaction of this caller's: for many thousands of them."""
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


def login_url(database: Database, login: str) -> str:
    return database.url.replace("postgres@", f"{LOGINS[login]}@", 1)


def list_callers(tenants: Tenants) -> list[Caller]:
    """Everybody whom the isolation must hold: the second half has no business here at all."""
    claims = json.dumps(tenants.a.actor.claims())
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


def read_rows(connection: psycopg.Connection, relation: Relation) -> list[Any]:
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


def find_read_leaks(tenants: Tenants, *only: str) -> list[str]:
    """What somebody reads that is not their own, in `only` these relations or in all."""
    leaks = []
    for caller in list_callers(tenants):
        with caller.session(tenants.database) as connection:
            for relation in (one for one in tenants.relations if not only or one.name in only):
                for row in read_rows(connection, relation):
                    own = caller.name == "tenant A" and tenants.a.named_in(row) and not tenants.b.named_in(row)
                    if not own:
                        leaks.append(f"{relation.name} read by {caller.name}")
    return sorted(set(leaks))


def find_write_leaks(tenants: Tenants, *only: str) -> list[str]:
    """What somebody changes, adds or deletes that is not their own, in `only` these relations or in all."""
    leaks = []
    with contextlib.ExitStack() as at_the_door:
        callers = [(one, at_the_door.enter_context(one.session(tenants.database))) for one in list_callers(tenants)]
        for relation in (one for one in tenants.relations if not only or one.name in only):
            writes = try_each(list_writes(tenants, relation))
            before = fingerprint(tenants, relation)
            for caller, connection in callers:
                connection.execute(writes)
                after = fingerprint(tenants, relation)
                if after != before:
                    leaks.append(f"{relation.name} written by {caller.name}")
                before = after
    return leaks


def try_each(statements: Iterable[sql.Composed]) -> bytes:
    """What has the server run each of the statements, whatever becomes of the others.

    There are tens of thousands: to be told of each refusal takes longer than it. One that fails otherwise than by
    `REFUSALS` fails all.
    """
    texts = sql.Literal([statement.as_string() for statement in statements])
    return TRY_EACH.format(texts, sql.Literal(list(REFUSALS))).as_bytes()


def list_writes(tenants: Tenants, relation: Relation) -> Iterator[sql.Composed]:
    """Every way to write that one can think of without knowing the table."""
    table = relation.identifier
    others = [str(tenants.b.actor.user_id), f"user_{tenants.b.actor.user_id}", str(tenants.b.session_id)]
    others += [str(tenants.d.actor.user_id), str(tenants.d.session_id)]
    for name, kind in relation.columns:
        column = sql.Identifier(name)
        yield sql.SQL("update {} set {} = {}").format(table, column, column)
        yield sql.SQL("update {} set {} = default").format(table, column)
        if kind == "uuid" or name in ("session_id", "session"):
            for value in others:
                yield sql.SQL("update {} set {} = {}").format(table, column, sql.Literal(value))
    for row in _rows_to_forge(tenants, relation):
        for chosen in _columns_to_forge(tenants.database, relation):
            listed = sql.SQL(", ").join(map(sql.Identifier, chosen))
            yield sql.SQL("insert into {} ({}) select {} from jsonb_populate_record(null::{}, {})").format(
                table, listed, listed, table, sql.Literal(row)
            )
    yield sql.SQL("delete from {}").format(table)
    yield sql.SQL("truncate {} cascade").format(table)


def _rows_to_forge(tenants: Tenants, relation: Relation) -> list[str]:
    """A row of B as it is; in the name of C and of D, who have no such row; and in A's own, but with B's session."""
    rows = tenants.database.execute(f"select to_jsonb(t)::text from {relation.name} t")
    of_b = next((row for (row,) in rows if tenants.b.named_in(row)), None)
    if of_b is None:
        return [row for (row,) in rows[:1]]
    b = str(tenants.b.actor.user_id)
    forged = [of_b.replace(b, str(other.actor.user_id)) for other in (tenants.c, tenants.d, tenants.a)]
    forged[1] = forged[1].replace(str(tenants.b.session_id), str(tenants.d.session_id))
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


def fingerprint(tenants: Tenants, relation: Relation) -> list[str]:
    """Every row that is not purely A's, with the transaction that wrote it: even an update to the same shows."""
    if relation.kind not in ("r", "p"):
        return []
    rows = tenants.database.execute(f"select xmin::text, to_jsonb(t)::text from {relation.name} t order by 2")
    return [
        f"{xmin} {row}"
        for xmin, row in rows
        if any(other.named_in(row) for other in (tenants.b, tenants.c, tenants.d)) or not tenants.a.named_in(row)
    ]


@contextmanager
def cloned(cluster: EmbeddedPostgres, tenants: Tenants) -> Iterator[Tenants]:
    """A copy of the tenants' database, to be damaged."""
    name = f"clone_{uuid4().hex}"
    source = tenants.database.one("select current_database()")
    tenants.database.let_go()
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name} template {source} strategy file_copy")
        yield tenants.on(Database(cluster.url(name)))
        connection.execute(f"drop database {name} with (force)")


def list_unprotected_tables(database: Database) -> list[str]:
    """Tables of `public` whose rows are open to whoever is granted the table. The list of migrations has no tenants:
    row level security without policies keeps it from the API roles, and its owner needs it."""
    rows = database.execute(
        "select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace"
        " and c.relkind = any('{r,p,f}') and not (c.relrowsecurity"
        " and (c.relforcerowsecurity or c.relname = 'alembic_version'))"
    )
    return [name for (name,) in rows]


def get_callers_of_functions(database: Database, schemas: tuple[str, ...]) -> dict[str, set[str]]:
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
