"""Databases as the migrations leave them, reused between tests.

Cloning the template takes ten times as long as a short test. So a database in which a test only wrote rows is emptied
and used again under a new name. A database whose schema, rights or statistics have changed is dropped.
"""

import contextlib
import functools
import threading
import weakref
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection, sql

from services.db.embedded import EmbeddedPostgres
from tests.support.process_state import forget_process_state, point_at_database
from tests.support.waiting import wait_for

# What can be changed in a database beside rows and sequences. A change of any kind writes a row, and so a newer xmin.
CATALOGS = (
    "pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_db_role_setting", "pg_default_acl", "pg_description",
    "pg_enum", "pg_event_trigger", "pg_extension", "pg_index", "pg_inherits", "pg_namespace", "pg_policy", "pg_proc",
    "pg_rewrite", "pg_statistic", "pg_statistic_ext", "pg_trigger", "pg_type",
)  # fmt: skip
SCHEMA_SQL = sql.SQL(" union all ").join(
    sql.SQL("select {}, count(*), max(xmin::text::bigint) from {}").format(sql.Literal(name), sql.Identifier(name))
    for name in CATALOGS
)
# Tables that hold pages, with their size in bytes.
USED_TABLES_SQL = """
select n.nspname, c.relname, pg_relation_size(c.oid) from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and pg_relation_size(c.oid) > 0
"""
RESET_SEQUENCES_SQL = """
select setval(format('%I.%I', schemaname, sequencename), start_value, false)
  from pg_sequences where last_value is not null
"""
# Deleting leaves the pages behind, and is ten times as fast as cutting them off while there are few.
SMALL_TABLE_BYTES = 64 * 1024
# PostgreSQL's own wait for who is cut off looks ten times a second: as long as a short test.
END_CONNECTIONS_SQL = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
# Who empties tables under others' hands may be the one whom a deadlock hits, and who cuts them off may be too slow.
MAX_ATTEMPTS = 5

TableName = tuple[str, str]


@dataclass(frozen=True)
class Database:
    """One test's own database; `execute` runs as its owner, who is a superuser here.

    Each thread keeps its connection: to open one takes ten times as long as to ask.
    """

    url: str
    _of: threading.local = field(default_factory=threading.local, repr=False, compare=False, kw_only=True)

    def execute(self, query: str, *params: Any) -> list[tuple[Any, ...]]:
        kept: psycopg.Connection | None = getattr(self._of, "connection", None)
        if kept is not None and not kept.closed:
            try:
                return self._execute(kept, query, params)
            except psycopg.OperationalError:
                if not kept.closed:
                    raise
                # It was cut off, or the server was killed, since it was last used.
        self._of.connection = psycopg.connect(self.url, autocommit=True, prepare_threshold=None)
        weakref.finalize(self, self._of.connection.close)
        return self._execute(self._of.connection, query, params)

    def one(self, query: str, *params: Any) -> Any:
        """The first column of the only row."""
        ((value,),) = self.execute(query, *params)
        return value

    def let_go(self) -> None:
        """Close this thread's connection, for whoever must find nobody in the database."""
        if (kept := getattr(self._of, "connection", None)) is not None:
            kept.close()

    def _execute(self, connection: psycopg.Connection, query: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            cursor = connection.execute(query, params or None)
            return cursor.fetchall() if cursor.description else []
        finally:
            if not connection.closed:
                connection.execute("discard all")  # the next comes as if by a connection of its own


@dataclass(frozen=True)
class SpareDatabase:
    """A database that nobody uses. `schema` is its catalogue as a newly made or emptied one has it."""

    name: str
    schema: object


class DatabasePool:
    """The databases of one test process on its cluster. Not for several threads."""

    def __init__(self, cluster: EmbeddedPostgres, template: str) -> None:
        self._cluster = cluster
        self._template = template
        self._admin = psycopg.connect(cluster.url("postgres"), autocommit=True)
        self._spares: list[SpareDatabase] = []
        self._schemas: dict[str, object] = {}
        with psycopg.connect(cluster.url(template), autocommit=True) as connection:
            self._rows = {name: _copy_rows(connection, name) for name, _size in _used_tables(connection)}
            assert not connection.execute(RESET_SEQUENCES_SQL).fetchall(), (
                "a sequence of the template's is not at its start"
            )

    def take(self) -> str:
        """The name of a database as the migrations leave it."""
        spare = self._spares.pop() if self._spares else self._clone()
        self._schemas[spare.name] = spare.schema
        return spare.name

    def give_back(self, name: str) -> None:
        """Cut everybody off from the database; keep it where emptying makes it a new one, drop it otherwise."""
        known = self._schemas.pop(name)
        left = self._leave(name)
        with psycopg.connect(self._cluster.url(left), autocommit=True) as connection:
            kept = _read_schema(connection) == known
            if kept:
                cut = self._empty(connection)
                self._spares.append(SpareDatabase(left, _read_schema(connection) if cut else known))
        if not kept:
            self._admin.execute(f"drop database {left} with (force)")

    def _leave(self, name: str) -> str:
        """The database's new name: whoever of an earlier test still tries to connect must not find it."""
        left = f"t_{uuid4().hex}"
        rename = f"alter database {name} rename to {left}"
        for attempt in range(1, MAX_ATTEMPTS + 1):
            end_connections(self._admin, name)
            try:
                self._admin.execute(rename)
                break
            except psycopg.errors.ObjectInUse:  # somebody was quicker than the renaming
                if attempt == MAX_ATTEMPTS:
                    raise
        return left

    def empty(self, name: str, keep: Collection[TableName] = ()) -> None:
        """Take away all rows but those of the tables in `keep`, while others may be connected and at work."""
        with psycopg.connect(self._cluster.url(name), autocommit=True) as connection:
            for _attempt in range(MAX_ATTEMPTS - 1):
                with contextlib.suppress(psycopg.errors.DeadlockDetected):
                    self._empty(connection, keep)
                    return
            self._empty(connection, keep)

    def close(self) -> None:
        """Drop those that nobody uses."""
        for spare in self._spares:
            self._admin.execute(f"drop database {spare.name} with (force)")
        self._admin.close()

    def _clone(self) -> SpareDatabase:
        name = f"t_{uuid4().hex}"
        self._admin.execute(f"create database {name} template {self._template} strategy file_copy")
        with psycopg.connect(self._cluster.url(name), autocommit=True) as connection:
            return SpareDatabase(name, _read_schema(connection))

    def _empty(self, connection: Connection, keep: Collection[TableName] = ()) -> bool:
        """Bring rows and sequences back to the template's. Whether a table was cut off: the catalogue shows it."""
        cut = False
        with connection.transaction():
            connection.execute("set local session_replication_role = replica")  # no trigger and no foreign key asks
            for name, size in _used_tables(connection):
                if name not in keep and (name not in self._rows or _copy_rows(connection, name) != self._rows[name]):
                    empty = "delete from {}" if size <= SMALL_TABLE_BYTES else "truncate {} cascade"
                    cut = cut or size > SMALL_TABLE_BYTES
                    connection.execute(sql.SQL(empty).format(sql.Identifier(*name)))
            for name, rows in self._rows.items():
                if _copy_rows(connection, name) != rows:
                    _insert_rows(connection, name, rows)
        if not keep:
            connection.execute(RESET_SEQUENCES_SQL)
        return cut


@contextlib.contextmanager
def fresh_database(
    cluster: EmbeddedPostgres, template: str, patch: pytest.MonkeyPatch, data_dir: Path
) -> Iterator[Database]:
    """A database like the template; this process's settings and engines point at it."""
    name = get_database_pool(cluster, template).take()
    point_at_database(patch, cluster.url(name), data_dir)
    made = Database(cluster.url(name))
    yield made
    made.let_go()
    forget_process_state()
    get_database_pool(cluster, template).give_back(name)


@contextlib.contextmanager
def unreachable_database(cluster: EmbeddedPostgres, name: str) -> Iterator[Connection]:
    """For the block nobody is let into the database `name`, and whoever was in it is out; gives a way past that."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as elsewhere:
        elsewhere.execute(f"alter database {name} allow_connections false")
        try:
            end_connections(elsewhere, name)
            yield elsewhere
        finally:
            elsewhere.execute(f"alter database {name} allow_connections true")


def end_connections(elsewhere: Connection, name: str) -> None:
    """End every connection to the database `name`, asked for by one to another database."""
    wait_for(lambda: not elsewhere.execute(END_CONNECTIONS_SQL, [name]).rowcount)


@functools.cache
def get_database_pool(cluster: EmbeddedPostgres, template: str) -> DatabasePool:
    """The databases of this test process."""
    return DatabasePool(cluster, template)


def speed_up_server(cluster: EmbeddedPostgres) -> None:
    """Spare a test server what only a machine's loss of power would prove, and work that nobody asked for."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "autovacuum"):
            connection.execute(f"alter system set {setting} = off")
        connection.execute("select pg_reload_conf()")


def _read_schema(connection: Connection) -> object:
    return connection.execute(SCHEMA_SQL).fetchall()


def _used_tables(connection: Connection) -> list[tuple[TableName, int]]:
    return [((schema, table), size) for schema, table, size in connection.execute(USED_TABLES_SQL)]


def _copy_rows(connection: Connection, name: TableName) -> str:
    query = sql.SQL("select coalesce(jsonb_agg(t), '[]')::text from {} t").format(sql.Identifier(*name))
    ((rows,),) = connection.execute(query)
    return str(rows)


def _insert_rows(connection: Connection, name: TableName, rows: str) -> None:
    query = sql.SQL("insert into {} select * from jsonb_populate_recordset(null::{}, {})")
    connection.execute(query.format(sql.Identifier(*name), sql.Identifier(*name), sql.Literal(rows)))
