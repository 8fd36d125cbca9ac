"""Databases as the migrations leave them, at the price of emptying one that a test has used.

Cloning the template takes ten times as long as a short test. So a database whose test has only written rows is emptied
and serves again, under a new name; one whose schema, rights or statistics are not the template's any more is dropped.
"""

import contextlib
import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from uuid import uuid4

import psycopg
from psycopg import Connection, sql

from services.db.embedded import EmbeddedPostgres
from tests.installation import wait_for

# What can be changed in a database beside rows and sequences. A change of any kind writes a row, and so a newer xmin.
CATALOGS = (
    "pg_attrdef", "pg_attribute", "pg_class", "pg_constraint", "pg_db_role_setting", "pg_default_acl", "pg_description",
    "pg_enum", "pg_event_trigger", "pg_extension", "pg_index", "pg_inherits", "pg_namespace", "pg_policy", "pg_proc",
    "pg_rewrite", "pg_statistic", "pg_statistic_ext", "pg_trigger", "pg_type",
)  # fmt: skip
SCHEMA = sql.SQL(" union all ").join(
    sql.SQL("select {}, count(*), max(xmin::text::bigint) from {}").format(sql.Literal(name), sql.Identifier(name))
    for name in CATALOGS
)
# Tables that hold pages, with their size in bytes.
USED = """
select n.nspname, c.relname, pg_relation_size(c.oid) from pg_class c join pg_namespace n on n.oid = c.relnamespace
 where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and pg_relation_size(c.oid) > 0
"""
REWIND = """
select setval(format('%I.%I', schemaname, sequencename), start_value, false)
  from pg_sequences where last_value is not null
"""
# Deleting leaves the pages behind, and is ten times as fast as cutting them off while there are few.
FEW_BYTES = 64 * 1024
# PostgreSQL's own wait for who is cut off looks ten times a second: as long as a short test.
END_OTHERS = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
# Who empties tables under others' hands may be the one whom a deadlock hits, and who cuts them off may be too slow.
ATTEMPTS = 5

Name = tuple[str, str]


@dataclass(frozen=True)
class Spare:
    """A database that nobody uses. `schema` is its catalogue as a newly made or emptied one has it."""

    name: str
    schema: object


class Databases:
    """The databases of one test process on its cluster. Not for several threads."""

    def __init__(self, cluster: EmbeddedPostgres, template: str) -> None:
        self._cluster = cluster
        self._template = template
        self._admin = psycopg.connect(cluster.url("postgres"), autocommit=True)
        self._spares: list[Spare] = []
        self._schemas: dict[str, object] = {}
        with psycopg.connect(cluster.url(template), autocommit=True) as connection:
            self._rows = {name: _rows(connection, name) for name, _size in _used(connection)}
            assert not connection.execute(REWIND).fetchall(), "a sequence of the template's is not at its start"

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
            kept = _schema(connection) == known
            if kept:
                cut = self._empty(connection)
                self._spares.append(Spare(left, _schema(connection) if cut else known))
        if not kept:
            self._admin.execute(f"drop database {left} with (force)")

    def _leave(self, name: str) -> str:
        """The database's new name: whoever of an earlier test still tries to connect must not find it."""
        left = f"t_{uuid4().hex}"
        rename = f"alter database {name} rename to {left}"
        for attempt in range(1, ATTEMPTS + 1):
            cut_off(self._admin, name)
            try:
                self._admin.execute(rename)
                break
            except psycopg.errors.ObjectInUse:  # somebody was quicker than the renaming
                if attempt == ATTEMPTS:
                    raise
        return left

    def empty(self, name: str, keep: Collection[Name] = ()) -> None:
        """Take away all rows but those of the tables in `keep`, while others may be connected and at work."""
        with psycopg.connect(self._cluster.url(name), autocommit=True) as connection:
            for _attempt in range(ATTEMPTS - 1):
                with contextlib.suppress(psycopg.errors.DeadlockDetected):
                    self._empty(connection, keep)
                    return
            self._empty(connection, keep)

    def close(self) -> None:
        """Drop those that nobody uses."""
        for spare in self._spares:
            self._admin.execute(f"drop database {spare.name} with (force)")
        self._admin.close()

    def _clone(self) -> Spare:
        name = f"t_{uuid4().hex}"
        self._admin.execute(f"create database {name} template {self._template}")
        with psycopg.connect(self._cluster.url(name), autocommit=True) as connection:
            return Spare(name, _schema(connection))

    def _empty(self, connection: Connection, keep: Collection[Name] = ()) -> bool:
        """Bring rows and sequences back to the template's. Whether a table was cut off: the catalogue shows it."""
        cut = False
        with connection.transaction():
            connection.execute("set local session_replication_role = replica")  # no trigger and no foreign key asks
            for name, size in _used(connection):
                if name not in keep and (name not in self._rows or _rows(connection, name) != self._rows[name]):
                    empty = "delete from {}" if size <= FEW_BYTES else "truncate {} cascade"
                    cut = cut or size > FEW_BYTES
                    connection.execute(sql.SQL(empty).format(sql.Identifier(*name)))
            for name, rows in self._rows.items():
                if _rows(connection, name) != rows:
                    _insert(connection, name, rows)
        if not keep:
            connection.execute(REWIND)
        return cut


@contextlib.contextmanager
def out_of_reach(cluster: EmbeddedPostgres, name: str) -> Iterator[Connection]:
    """For the block nobody is let into the database `name`, and whoever was in it is out; gives a way past that."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as elsewhere:
        elsewhere.execute(f"alter database {name} allow_connections false")
        try:
            cut_off(elsewhere, name)
            yield elsewhere
        finally:
            elsewhere.execute(f"alter database {name} allow_connections true")


def cut_off(elsewhere: Connection, name: str) -> None:
    """End every connection to the database `name`, asked for by one to another database."""
    wait_for(lambda: not elsewhere.execute(END_OTHERS, [name]).rowcount)


@functools.cache
def databases(cluster: EmbeddedPostgres, template: str) -> Databases:
    """The databases of this test process."""
    return Databases(cluster, template)


def hasten(cluster: EmbeddedPostgres) -> None:
    """Spare a test server what only a machine's loss of power would prove, and work that nobody asked for."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "autovacuum"):
            connection.execute(f"alter system set {setting} = off")
        connection.execute("select pg_reload_conf()")


def _schema(connection: Connection) -> object:
    return connection.execute(SCHEMA).fetchall()


def _used(connection: Connection) -> list[tuple[Name, int]]:
    return [((schema, table), size) for schema, table, size in connection.execute(USED)]


def _rows(connection: Connection, name: Name) -> str:
    query = sql.SQL("select coalesce(jsonb_agg(t), '[]')::text from {} t").format(sql.Identifier(*name))
    ((rows,),) = connection.execute(query)
    return str(rows)


def _insert(connection: Connection, name: Name, rows: str) -> None:
    query = sql.SQL("insert into {} select * from jsonb_populate_recordset(null::{}, {})")
    connection.execute(query.format(sql.Identifier(*name), sql.Identifier(*name), sql.Literal(rows)))
