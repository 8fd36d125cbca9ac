"""PostgreSQL 15 understands whatever the services ask: every statement of the whole suite, prepared there."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from services.db.embedded import EmbeddedPostgres
from services.db.migrate import migrate
from tests.support.databases import Database
from tests.support.process_state import forget_process_state, point_at_database
from tests.support.statements import list_unknown, read_statements

# Where the suite has been cut short, it proves less than it says.
FEWEST = 500


@pytest.fixture
def newest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database: Database) -> Iterator[psycopg.Connection]:
    """The same schema on the PostgreSQL that the statements were recorded on."""
    with tempfile.TemporaryDirectory(prefix="plushify-newest-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with EmbeddedPostgres(folder) as server:
            point_at_database(monkeypatch, server.url(), tmp_path / "newest")
            migrate(server.url())
            forget_process_state()
            with psycopg.connect(server.url(), autocommit=True) as connection:
                yield connection


@pytest.mark.recorded
def test_it_understands_every_statement_of_the_services(
    recorded_statements: Path, database: Database, newest: psycopg.Connection
) -> None:
    statements = read_statements(recorded_statements)
    assert len(statements) > FEWEST, f"run the suite with --record-statements {recorded_statements} before"
    with psycopg.connect(database.url, autocommit=True) as connection:
        unknown = list_unknown(connection, statements)
    # What names a table of one test is unknown on both.
    nowhere = list_unknown(newest, unknown)
    assert {statement: why for statement, why in unknown.items() if statement not in nowhere} == {}


def test_it_tells_what_a_server_does_not_understand(database: Database) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        unknown = list_unknown(connection, ["select count(*) from messages", "select newer(1)"])
    assert list(unknown) == ["select newer(1)"]
    assert "newer(integer) does not exist" in unknown["select newer(1)"]
