"""A fresh database server and the product's processes on it, for one measurement."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg

from services import settings
from services.db.embedded import EmbeddedPostgres, packaged_binaries
from services.db.engine import get_console_engine, get_system_engine
from services.db.migrate import migrate
from services.fleet.webhook_secrets import hash_secret
from services.operations.supervisor import Program, list_programs
from tests.support.processes import free_ports

ROOT = Path(__file__).parents[1]
START_SECONDS = 30.0


@dataclass
class BenchInstallation:
    """The server's URL and the environment that points every process at it."""

    url: str
    folder: Path
    environment: dict[str, str]
    console: str
    webhook: str
    sandbox: str
    binaries: Path = field(default_factory=packaged_binaries)

    @contextlib.contextmanager
    def running(self, *names: str) -> Iterator[None]:
        """Run these programs of the product for the block, once they answer."""
        chosen = [program for program in list_programs(settings.get()) if program.name in names]
        with contextlib.ExitStack() as stack:
            for program in chosen:
                stack.enter_context(self._process(program))
            yield

    @contextlib.contextmanager
    def _process(self, program: Program) -> Iterator[None]:
        log = self.folder / f"{program.name}.log"
        with log.open("ab") as out:
            started = subprocess.Popen(program.command, cwd=ROOT, env=self.environment, stdout=out, stderr=out)
        try:
            if program.port is not None:
                wait_for(getattr(self, program.name), log)
            yield
        finally:
            started.terminate()
            started.wait(30)

    @property
    def webhook_address(self) -> tuple[str, int]:
        """Host and port of the companion process, for a plain socket."""
        parts = urlsplit(self.webhook)
        return str(parts.hostname), parts.port or 80

    def execute(self, query: str, *params: object) -> list[tuple[object, ...]]:
        """Run one statement as the owner."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query, params or None)
            return cursor.fetchall() if cursor.description else []

    def session(self, status: str = "conectado", server_url: str = "http://127.0.0.1:9") -> tuple[UUID, str]:
        """A user with a session in `status`; returns the user's id and the session's webhook secret."""
        user_id, secret = uuid4(), uuid4().hex
        self.execute("insert into auth.users (id, email) values (%s, %s)", user_id, f"{user_id}@example.com")
        self.execute(
            "insert into whatsapp_sessions (user_id, session_id, status, server_url, pairing_started_at,"
            " webhook_secret_hash, webhook_secret_used_at) values (%s, %s, %s, %s, now(), %s, now())",
            user_id,
            f"user_{user_id}",
            status,
            server_url,
            hash_secret(secret),
        )
        return user_id, secret


@contextlib.contextmanager
def open_installation() -> Iterator[BenchInstallation]:
    """A migrated database on a server of its own; this process's settings point at it too."""
    folder = Path(tempfile.mkdtemp(prefix="plushify-bench-"))
    folder.chmod(0o755)
    before = dict(os.environ)
    with EmbeddedPostgres(folder) as server:
        for name in settings.variables():
            os.environ.pop(name, None)
        console, webhook, sandbox = free_ports(3)
        os.environ.update(
            DATABASE_URL=server.url(),
            DATA_DIR=str(folder),
            LOG_LEVEL="WARNING",
            CONSOLE_PORT=str(console),
            WEBHOOK_PORT=str(webhook),
            SANDBOX_PORT=str(sandbox),
        )
        _forget()
        migrate(server.url())
        yield BenchInstallation(
            server.url(),
            folder,
            dict(os.environ),
            console=f"http://127.0.0.1:{console}",
            webhook=f"http://127.0.0.1:{webhook}",
            sandbox=f"http://127.0.0.1:{sandbox}",
        )
    _forget()
    os.environ.clear()
    os.environ.update(before)
    shutil.rmtree(folder, ignore_errors=True)


def _forget() -> None:
    """Drop what this process knows of the installation before."""
    settings.get.cache_clear()
    for engine in (get_console_engine, get_system_engine):
        if engine.cache_info().currsize:
            engine().dispose()
        engine.cache_clear()


def wait_for(url: str, log: Path) -> None:
    """Return once `url` answers anything; raises TimeoutError that names the log."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"{url} does not answer; see {log}")


def figure(name: str, value: float, unit: str) -> None:
    """One line of the report."""
    print(f"bench {name} {value:.3g} {unit}" if value < 100 else f"bench {name} {value:.0f} {unit}", flush=True)
