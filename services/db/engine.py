"""The database engines of this process, and transactions that run under an actor's database role.

The role and the claims are sent with the transaction's own BEGIN, as one simple query. So no statement can run without
them, and no extra round trip is paid. `set_config(…, true)` forgets both at commit and rollback.
"""

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from services import settings
from services.db.actor import Actor, ActorKind
from services.errors import ConfigurationError, DatabaseUnavailable

# Enough for Streamlit's script threads and the worker's senders; a request beyond waits up to the time-out.
POOL_SIZE = 20
POOL_TIMEOUT_SECONDS = 10
CONNECT_TIMEOUT_SECONDS = 5
# The kernel gives a silent dead peer up after idle + interval x count = 15 s.
KEEPALIVE = {"keepalives": "1", "keepalives_idle": "5", "keepalives_interval": "5", "keepalives_count": "2"}


@functools.cache
def get_console_engine() -> Engine:
    """The engine of the login role that may become `authenticated` only."""
    return _create_engine(settings.get().database.console_url.get_secret_value())


@functools.cache
def get_system_engine() -> Engine:
    """The engine of the login role that may become `service_role` only."""
    return _create_engine(settings.get().database.system_url.get_secret_value())


def psycopg_url(url: str) -> str:
    """`url` without SQLAlchemy's driver suffix, as psycopg takes it."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def get_keepalive_conninfo(url: str) -> str:
    """`url` for a connection that is held for as long as the process lives, and must notice when its peer is gone."""
    return make_conninfo(psycopg_url(url), connect_timeout=str(CONNECT_TIMEOUT_SECONDS), **KEEPALIVE)


def _create_engine(url: str) -> Engine:
    if not url:
        raise ConfigurationError("DATABASE_URL is missing")
    conninfo = psycopg_url(url)
    engine = create_engine(
        "postgresql+psycopg://",
        # Autocommit in the driver, because our own BEGIN (below) opens each transaction.
        creator=lambda: psycopg.connect(conninfo, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS),
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        # An error's text must not quote a message or a hash.
        hide_parameters=True,
    )
    event.listen(engine, "begin", _begin_as_actor)
    return engine


def _begin_as_actor(connection: Connection) -> None:
    options = connection.get_execution_options()
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    driver.execute(get_begin_statement(options["actor"], notifies_at_commit=options["notifies_at_commit"]))


def get_begin_statement(actor: Actor, *, notifies_at_commit: bool = False) -> sql.Composed:
    """`BEGIN` together with the role and claims of `actor`, as one simple query."""
    begin = "begin; select set_config('role', {role}, true), set_config('request.jwt.claims', {claims}, true)"
    if notifies_at_commit:
        begin += ", set_config('app.notifies_at_commit', 'on', true)"
    return sql.SQL(begin).format(role=sql.Literal(actor.database_role), claims=sql.Literal(json.dumps(actor.claims())))


def get_sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's own code of an error (its appendix "Error Codes", or one of our migrations'); None without one."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state


@contextmanager
def transaction(actor: Actor, *, notifies_at_commit: bool = False) -> Iterator[Connection]:
    """Run the block as `actor` in one transaction: committed at its end, rolled back on any error.

    `notifies_at_commit` is for `notify.notifying_transaction` alone.

    Raises: DatabaseUnavailable where the server cannot be reached or went away meanwhile.
    """
    engine = get_system_engine() if actor.kind is ActorKind.SYSTEM else get_console_engine()
    try:
        with _open_with_retry(engine, actor, notifies_at_commit) as tx, tx.get_transaction() or tx.begin():
            yield tx
    except (OperationalError, PoolTimeout, psycopg.OperationalError) as error:
        raise DatabaseUnavailable(type(error).__name__) from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise DatabaseUnavailable(type(error).__name__) from error


def _open_with_retry(engine: Engine, actor: Actor, notifies_at_commit: bool) -> Connection:
    """A connection whose transaction is open.

    A database that restarted leaves dead connections in the pool. The BEGIN finds them, so no ping is paid: nothing has
    been done yet, and once the pool is emptied a fresh connection can do all of it.
    """
    try:
        return _open_connection(engine, actor, notifies_at_commit)
    except psycopg.OperationalError:
        engine.dispose()
        return _open_connection(engine, actor, notifies_at_commit)


def _open_connection(engine: Engine, actor: Actor, notifies_at_commit: bool) -> Connection:
    connection = engine.connect().execution_options(actor=actor, notifies_at_commit=notifies_at_commit)
    try:
        connection.begin()
    except psycopg.Error:
        # Not left to the garbage collector: whoever keeps the error would keep the pool's place too.
        connection.invalidate()
        connection.close()
        raise
    return connection
