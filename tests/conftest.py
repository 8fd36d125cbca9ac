"""A real PostgreSQL made by the migrations, a fresh database per test, and the sandbox over real HTTP."""

import atexit
import functools
import os
import shutil
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import certifi
import psycopg
import pytest
import structlog

from services import settings
from services.accounts import credentials
from services.accounts.credentials import BCRYPT_COST
from services.db import engine
from services.db.actor import Actor, Role, person
from services.db.embedded import EmbeddedPostgres
from services.db.migrate import migrate
from tests.support.databases import get_database_pool, speed_up_server

TEMPLATE = "plushify_template"
NO_SKIPS = os.environ.get("PLUSHIFY_NO_SKIPS") == "1"

# Where Linux keeps files in memory: a database there takes a quarter off what a test costs.
MEMORY = Path("/dev/shm")
# Several times what a run was seen to hold.
MEMORY_BYTES = 8 * 2**30

# By default every local of every frame is drawn into a log's traceback: seconds each, in which time-outs pass.
structlog.configure(
    [
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


def _spare_memory() -> int:
    """How many bytes files in memory may take: what is free there, and in the machine; none where nothing may run."""
    if not MEMORY.is_dir() or os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:  # tests make programs, too
        return 0
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return min(shutil.disk_usage(MEMORY).free, int(facts["MemAvailable"].split()[0]) * 1024)


# Before anybody asks for a temporary folder; the processes that tests start find theirs there too.
if "TMPDIR" not in os.environ and _spare_memory() >= MEMORY_BYTES:
    os.environ["TMPDIR"] = str(MEMORY)
    tempfile.tempdir = None

# Every httpx.Client reads whom the world trusts, which takes longer than a short test; no test speaks TLS with anybody.
ONE_AUTHORITY = Path(tempfile.mkdtemp(prefix="plushify-tls-")) / "authority.pem"
END_OF_ONE = "-----END CERTIFICATE-----\n"
ONE_AUTHORITY.write_text(Path(certifi.where()).read_text().partition(END_OF_ONE)[0] + END_OF_ONE)
os.environ["SSL_CERT_FILE"] = str(ONE_AUTHORITY)
atexit.register(shutil.rmtree, ONE_AUTHORITY.parent)


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


@pytest.fixture(autouse=True)
def no_bound_log_context() -> None:
    """Pages and requests that ran in this thread before have bound their ids, which calls would carry on."""
    structlog.contextvars.clear_contextvars()


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """To hash a password takes a quarter of a second of a processor on purpose, and proves nothing by itself."""
    monkeypatch.setattr(credentials, "BCRYPT_COST", 5)


@pytest.fixture
def dear_hashes(cheap_hashes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The product's own cost, for what is about it."""
    monkeypatch.setattr(credentials, "BCRYPT_COST", BCRYPT_COST)


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL server for this test process. PLUSHIFY_TEST_PG_BIN chooses another one's binaries."""
    binaries = os.environ.get("PLUSHIFY_TEST_PG_BIN")
    folder = Path(tempfile.mkdtemp(prefix="plushify-"))
    folder.chmod(0o755)  # the server's account must get through it
    with EmbeddedPostgres(folder, Path(binaries) if binaries else None) as server:
        speed_up_server(server)
        yield server
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def template(cluster: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A migrated database, of which each test has a copy."""
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
        connection.execute(f"create database {TEMPLATE}")
    with pytest.MonkeyPatch.context() as patch:
        _install(patch, cluster.url(TEMPLATE), tmp_path_factory.mktemp("template-data"))
        migrate(cluster.url(TEMPLATE))
    forget_process_state()
    return TEMPLATE


@contextmanager
def fresh_database(
    cluster: EmbeddedPostgres, template: str, patch: pytest.MonkeyPatch, data_dir: Path
) -> Iterator[Database]:
    """A database like the template; this process's settings and engines point at it."""
    name = get_database_pool(cluster, template).take()
    _install(patch, cluster.url(name), data_dir)
    made = Database(cluster.url(name))
    yield made
    made.let_go()
    forget_process_state()
    get_database_pool(cluster, template).give_back(name)


@pytest.fixture
def database(
    cluster: EmbeddedPostgres, template: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Database]:
    """A fresh migrated database; this process's settings and engines point at it."""
    with fresh_database(cluster, template, monkeypatch, tmp_path / "data") as made:
        yield made


@pytest.fixture
def new_actor(database: Database) -> Callable[..., Actor]:
    """Makes people: `new_actor()` a user, `new_actor(Role.ADMIN)` staff."""

    def make(role: Role = Role.USER, email: str = "") -> Actor:
        user_id = uuid4()
        address = email or f"{role}-{user_id.hex[:8]}@example.com"
        database.execute(
            "insert into auth.users (id, email, encrypted_password, raw_app_meta_data)"
            " values (%s, %s, '', jsonb_build_object('role', %s::text))",
            user_id,
            address,
            str(role),
        )
        return person(user_id, role, address)

    return make


@pytest.fixture
def user(new_actor: Callable[..., Actor]) -> Actor:
    return new_actor()


@pytest.fixture
def staff(new_actor: Callable[..., Actor]) -> Actor:
    return new_actor(Role.OPERATOR)


def forget_process_state() -> None:
    """Drop what a process keeps behind functools.cache, as a new process would start without it."""
    for cached in (engine.get_console_engine, engine.get_system_engine):
        if cached.cache_info().currsize:
            cached().dispose()
    for cached in _caches(len(sys.modules)):
        cached.cache_clear()


@functools.cache
def _caches(_loaded: int) -> list[Any]:
    """Every function of ours that remembers, in the modules that are loaded: as many as that."""
    return [
        value
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in ("services", "ui", "web")
        for value in list(vars(module).values())
        if hasattr(value, "cache_clear") and getattr(value, "__module__", None) == name
    ]


def _install(patch: pytest.MonkeyPatch, url: str, data_dir: Path) -> None:
    for name in settings.Settings.model_fields:
        patch.delenv(name.upper(), raising=False)
    patch.setenv("DATABASE_URL", url)
    patch.setenv("DATA_DIR", str(data_dir))
    forget_process_state()


def connected(database: Database, actor: Actor, server_url: str = "http://127.0.0.1:9") -> UUID:
    """Give `actor` a session that is up, as a finished pairing leaves it."""
    session_id: UUID = database.one(
        "insert into whatsapp_sessions (user_id, session_id, status, server_url, pairing_started_at, phone_number)"
        " values (%s, %s, 'conectado', %s, now(), '5511999990000') returning id",
        actor.user_id,
        f"user_{actor.user_id}",
        server_url,
    )
    database.execute("insert into lanes (session_id) values (%s)", session_id)
    return session_id


def wrote_to(database: Database, user_id: UUID | None, phone: str = "5511966660000") -> None:
    """An acknowledgement came from that number long ago: a session may be asked about whom it has written to."""
    database.execute(
        "insert into number_checks (session_id, user_id, phone, on_whatsapp, asked_at, checked_at, confirmed_at)"
        " select id, user_id, %s, true, now() - interval '1 day', now() - interval '1 day', now() - interval '1 day'"
        " from whatsapp_sessions where user_id = %s",
        phone,
        user_id,
    )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--first-cases", type=Path, metavar="FOLDER", help="of a parametrized test in FOLDER run the first case only"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With `--first-cases` each statement still meets the database; what varies are the values."""
    for item in items:
        if item.get_closest_marker("browser"):
            # All processes share few cores with the browser: a walk that runs out of time is told of, and walked again.
            item.add_marker(pytest.mark.flaky(reruns=1))
    folder: Path | None = config.getoption("--first-cases")
    if folder is None:
        return
    seen: set[str] = set()
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        test = item.nodeid.partition("[")[0]
        later = test in seen and item.path.is_relative_to(folder.absolute())
        (dropped if later else kept).append(item)
        seen.add(test)
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A walk that was walked again has passed: why it had to be is told all the same."""
    for report in terminalreporter.stats.get("rerun", []):
        terminalreporter.section(f"walked again: {report.nodeid}", "-")
        terminalreporter.write_line(report.longreprtext)
        for title, content in report.sections:
            if title.startswith("screen "):
                terminalreporter.write_line(f"{title}\n{content}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where PLUSHIFY_NO_SKIPS is set, a test that skips has not proved anything: it fails."""
    report = yield
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped: {report.longrepr}"
    return report
