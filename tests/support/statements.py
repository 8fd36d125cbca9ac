"""The statements that the services send to the database: kept while the suite runs, prepared on another PostgreSQL."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psycopg
from psycopg import pq
from sqlalchemy import Engine, event


class StatementRecorder:
    """Keeps each statement that succeeded in this process, with the values that it first had."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}
        event.listen(Engine, "after_cursor_execute", self._keep)

    def _keep(
        self, _connection: Any, cursor: psycopg.Cursor, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        if statement not in self._seen:
            values = parameters[0] if many else parameters
            self._seen[statement] = psycopg.ClientCursor(cursor.connection).mogrify(statement, values or None)

    def write(self, folder: Path) -> None:
        """Into a file of this process."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{os.getpid()}.json").write_text(json.dumps(self._seen))


def read_statements(folder: Path) -> list[str]:
    """Each statement once, whichever processes met it."""
    seen: dict[str, str] = {}
    for file in sorted(folder.glob("*.json")):
        seen |= json.loads(file.read_text())
    return list(seen.values())


def list_unknown(connection: psycopg.Connection, statements: Iterable[str]) -> dict[str, str]:
    """Those that the server does not understand, each with what it says."""
    unknown = {}
    for statement in statements:
        result = connection.pgconn.prepare(b"", statement.encode())
        if result.status != pq.ExecStatus.COMMAND_OK:
            unknown[statement] = result.error_message.decode(errors="replace")
    return unknown
