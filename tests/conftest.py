"""A real PostgreSQL made by the migrations, a fresh database per test, and the sandbox over real HTTP."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import certifi
import psycopg
import pytest
import structlog

from services.accounts import credentials
from services.accounts.credentials import BCRYPT_COST
from services.db.actor import Actor, Role, person
from services.db.embedded import EmbeddedPostgres
from services.db.migrate import migrate
from tests.support.databases import Database, fresh_database, speed_up_server
from tests.support.process_state import forget_process_state, point_at_database
from tests.support.statements import StatementRecorder
from tests.support.tenants import Tenants, create_tenants

TEMPLATE = "plushify_template"
RECORDER = pytest.StashKey[StatementRecorder]()
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

# Where nothing may be kept, each of the hundreds of processes compiles all of our modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Every httpx.Client reads whom the world trusts, which takes longer than a short test; no test speaks TLS with anybody.
ONE_AUTHORITY = Path(tempfile.mkdtemp(prefix="plushify-tls-")) / "authority.pem"
END_OF_ONE = "-----END CERTIFICATE-----\n"
ONE_AUTHORITY.write_text(Path(certifi.where()).read_text().partition(END_OF_ONE)[0] + END_OF_ONE)
os.environ["SSL_CERT_FILE"] = str(ONE_AUTHORITY)
atexit.register(shutil.rmtree, ONE_AUTHORITY.parent)


@pytest.fixture(autouse=True)
def no_bound_log_context() -> None:
    """Pages and requests that ran in this thread before have bound their ids, which calls would carry on."""
    structlog.contextvars.clear_contextvars()


@pytest.fixture(autouse=True)
def fast_password_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """To hash a password takes a quarter of a second of a processor on purpose, and proves nothing by itself."""
    monkeypatch.setattr(credentials, "BCRYPT_COST", 5)


@pytest.fixture
def real_password_hashing(fast_password_hashing: None, monkeypatch: pytest.MonkeyPatch) -> None:
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
        point_at_database(patch, cluster.url(TEMPLATE), tmp_path_factory.mktemp("template-data"))
        migrate(cluster.url(TEMPLATE))
    forget_process_state()
    return TEMPLATE


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
def tenants(database: Database, new_actor: Callable[..., Actor]) -> Tenants:
    """Tenants of whom one may try to reach another's."""
    return create_tenants(database, new_actor)


@pytest.fixture
def user(new_actor: Callable[..., Actor]) -> Actor:
    return new_actor()


@pytest.fixture
def staff(new_actor: Callable[..., Actor]) -> Actor:
    return new_actor(Role.OPERATOR)


@pytest.fixture
def admin(new_actor: Callable[..., Actor]) -> Actor:
    return new_actor(Role.ADMIN)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--first-cases", type=Path, metavar="FOLDER", help="of a parametrized test in FOLDER run the first case only"
    )
    parser.addoption("--record-statements", type=Path, metavar="FOLDER", help="keep in FOLDER what the services ask")
    parser.addoption("--recorded-statements", type=Path, metavar="FOLDER", help="prepare what is kept in FOLDER")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record-statements"):
        config.stash[RECORDER] = StatementRecorder()


def pytest_unconfigure(config: pytest.Config) -> None:
    if (recorder := config.stash.get(RECORDER, None)) is not None:
        recorder.write(config.getoption("--record-statements"))


@pytest.fixture
def recorded_statements(request: pytest.FixtureRequest) -> Path:
    found: Path = request.config.getoption("--recorded-statements")
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--recorded-statements") is None:
        _deselect(config, items, [item for item in items if item.get_closest_marker("recorded")])
    if (folder := config.getoption("--first-cases")) is not None:
        _deselect(config, items, _later_cases(items, folder))


def _later_cases(items: list[pytest.Item], folder: Path) -> list[pytest.Item]:
    """Of each parametrized test in the folder all cases but the first."""
    seen: set[str] = set()
    later: list[pytest.Item] = []
    for item in items:
        test = item.nodeid.partition("[")[0]
        if test in seen and item.path.is_relative_to(folder.absolute()):
            later.append(item)
        seen.add(test)
    return later


def _deselect(config: pytest.Config, items: list[pytest.Item], dropped: list[pytest.Item]) -> None:
    gone = set(dropped)
    items[:] = [item for item in items if item not in gone]
    config.hook.pytest_deselected(items=dropped)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where PLUSHIFY_NO_SKIPS is set, a test that skips has not proved anything: it fails."""
    report = yield
    if NO_SKIPS and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped: {report.longrepr}"
    return report
