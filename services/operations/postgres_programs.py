"""Runs pg_dump and pg_restore, and connects as the owner of the database."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from services import settings
from services.db.embedded import packaged_binaries
from services.db.engine import psycopg_url
from services.errors import ConfigurationError
from services.operations.backup_archive import Progress
from services.operations.errors import BackupError

log = structlog.get_logger(__name__)
# What Debian and its kin install beside the PATH.
DEBIAN_FOLDER = Path("/usr/lib/postgresql")
# From this version on pg_restore sets `transaction_timeout`, which an older server refuses.
TRANSACTION_TIMEOUT_SINCE = 17
# A line of `pg_dump --verbose` and of `pg_restore --verbose` about to move a table's rows.
TABLE_LINE = re.compile(r'(?:dumping contents of|processing data for) table "(?P<name>.+)"')


class _OutputWatcher:
    """Reads what a program says while it works: the table that it is at, and its last words."""

    def __init__(self, lines: IO[bytes], rows: dict[str, int], on_progress: Progress) -> None:
        self._lines, self._rows, self._on_progress = lines, rows, on_progress
        self._said = ""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def finish(self, process: "subprocess.Popen[bytes]", program: str) -> None:
        """Wait for the program's end.

        Raises: BackupError with its last words where it failed.
        """
        self._thread.join()
        if process.wait():
            raise BackupError(f"{program} failed: {self._said}")
        total = sum(self._rows.values())
        self._on_progress(total, total, "")

    def _read(self) -> None:
        done, under_way, total = 0, 0, sum(self._rows.values())
        for line in self._lines:
            said = line.decode(errors="replace").strip()
            if "error:" in said or not self._said:
                self._said = said.partition("error: ")[2] or said
            if match := TABLE_LINE.search(said):
                done, under_way = done + under_way, self._rows.get(match["name"], 0)
                self._on_progress(done, total, match["name"])


def watch_output(process: "subprocess.Popen[bytes]", rows: dict[str, int], on_progress: Progress) -> _OutputWatcher:
    """Starts to read a program's stderr and to report its progress; `rows` has the number of rows of each table."""
    assert process.stderr is not None
    return _OutputWatcher(process.stderr, rows, on_progress)


@contextmanager
def run_program(command: list[Any], **pipes: Any) -> "Iterator[subprocess.Popen[bytes]]":
    """Runs a program as the owner of the database, with stderr piped; the program is killed when the block ends.

    Raises: ConfigurationError where DATABASE_URL is missing.
    """
    password = conninfo_to_dict(get_owner_url()).get("password")
    # Not in the arguments, which every account of the machine can read.
    secret = {"PGPASSWORD": str(password)} if password else {}
    environment = {**os.environ, "LC_ALL": "C", **secret}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()  # after its own end this does nothing; else it must not outlive whoever started it


def connection_arguments() -> list[str]:
    """The arguments that connect a PostgreSQL program as the owner, without the password.

    Raises: ConfigurationError where DATABASE_URL is missing.
    """
    given = {name: str(value) for name, value in conninfo_to_dict(get_owner_url()).items() if name != "password"}
    return ["--no-password", f"--dbname={make_conninfo(**given)}"]


def find_program(name: str, major: int) -> Path:
    """The oldest of the machine's programs that can read and write a server of that version."""
    on_path = shutil.which(name)
    folders = [*DEBIAN_FOLDER.glob("*/bin"), *([Path(on_path).parent] if on_path else [])]
    try:
        folders.append(packaged_binaries())
    except ConfigurationError:
        log.debug("no_packaged_programs")
    fitting = {get_major_version(folder / name): folder / name for folder in folders if (folder / name).exists()}
    fit = (
        known
        for known in fitting
        if known >= major and (known >= TRANSACTION_TIMEOUT_SINCE) == (major >= TRANSACTION_TIMEOUT_SINCE)
    )
    chosen = min(fit, default=None)
    if chosen is None:
        raise BackupError(f"no {name} for PostgreSQL {major} is installed; on Debian: postgresql-client-{major}")
    return fitting[chosen]


def get_major_version(program: Path) -> int:
    """The major version that a PostgreSQL program tells of itself, for example 17."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.findall(r"\d+", said)[0])


def get_owner_url() -> str:
    """The URL for psycopg of the owner of the database.

    Raises: ConfigurationError where DATABASE_URL is missing.
    """
    url = settings.get().database.url
    if url is None:
        raise ConfigurationError("DATABASE_URL is missing")
    return psycopg_url(url.get_secret_value())


def get_login_urls() -> tuple[str, str]:
    """The URLs of the console's and of the system's login, in this order."""
    configured = settings.get().database
    return configured.console_url.get_secret_value(), configured.system_url.get_secret_value()


def get_login_names() -> tuple[str, str]:
    """The names of the console's and of the system's login, in this order."""
    console, system = (str(conninfo_to_dict(url).get("user")) for url in get_login_urls())
    return console, system


def fetch_value(connection: psycopg.Connection, query: str, *params: Any) -> Any:
    """The first value of the first row of a query, or None where it gives no row."""
    row = connection.execute(query, params or None).fetchone()
    return row[0] if row else None
