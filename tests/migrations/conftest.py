"""Databases that no migration has seen, on a server of their own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from services.db.embedded import EmbeddedPostgres
from tests.support.databases import speed_up_server
from tests.support.empty_databases import EmptyDatabase, managed_auth, owned_by_a_plain_role, plain, supabase
from tests.support.process_state import forget_process_state, point_at_database


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
def empty_database(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[EmptyDatabase]:
    """A new database on a server without any role of ours; its owner is a superuser."""
    name = f"bare_{uuid4().hex}"
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"create database {name}")
        point_at_database(monkeypatch, server.url(name), tmp_path / "data")
        yield EmptyDatabase(server.url(name), server.url(name))
        forget_process_state()
        connection.execute(f"drop database {name} with (force)")
        roles = connection.execute(
            "select rolname from pg_roles where rolname !~ '^pg_' and rolname <> 'postgres'"
        ).fetchall()
        connection.execute("; ".join(f"drop owned by {role}; drop role {role}" for (role,) in roles) or "select 1")


@pytest.fixture(params=[plain, owned_by_a_plain_role, supabase, managed_auth], ids=lambda prepare: prepare.__name__)
def database(
    request: pytest.FixtureRequest, empty_database: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> EmptyDatabase:
    """Each kind of database that the product may find, before any migration."""
    found: EmptyDatabase = request.param(empty_database, monkeypatch)
    return found
