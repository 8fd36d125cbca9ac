"""`up`: everything starts in order, what crashes comes back, and one signal leaves nothing behind."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
import pytest

from services import settings
from services.db.embedded import EmbeddedPostgres
from services.errors import ConfigurationError
from services.operations import supervisor
from tests.support.databases import Database
from tests.support.paths import ROOT
from tests.support.processes import free_ports
from tests.support.waiting import wait_for

# Runs the given Python texts as the programs of an installation. The first argument is the way they are forked.
RUNNER = """
import multiprocessing, signal, sys
from services.operations import process_manager, supervisor
from services.errors import ConfigurationError
if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may be started by nohup
    multiprocessing.set_start_method(sys.argv[1])
    process_manager.STOP_SECONDS = 2.0
    texts = enumerate(sys.argv[2:], 1)
    try:
        sys.exit(supervisor.up([supervisor.Program(f"p{n}", (sys.executable, "-c", text)) for n, text in texts]))
    except ConfigurationError as error:
        sys.exit(f"error: {error.detail}")
"""

# Says who it is and waits.
WAITS = "import os, signal; print('pid', os.getpid(), flush=True); signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + WAITS
CRASHES = "import sys; print('no luck', flush=True); sys.exit(3)"


@dataclass
class Run:
    """An `up` in a process of its own, and all that it has said."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def lines(self, pattern: str) -> list[str]:
        """What `pattern`'s group found, in order."""
        return re.findall(pattern, self.said())

    def wait_for(self, pattern: str, count: int = 1, seconds: float = 40) -> list[str]:
        def enough() -> list[str] | None:
            found = self.lines(pattern)
            assert len(found) >= count or self.process.poll() is None, self.said()
            return found if len(found) >= count else None

        found: list[str] = wait_for(enough, seconds, f"{count} × {pattern!r} in {self.said()}")
        return found

    def pids(self, count: int = 1) -> list[int]:
        """Of the programs that have said theirs."""
        return [int(pid) for pid in self.wait_for(r"pid (\d+)", count)]

    def ended(self, seconds: float = 30) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"does not end:\n{self.said()}") from None

    def told(self, number: int) -> int:
        """Its exit code after this signal."""
        self.process.send_signal(number)
        return self.ended()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A short folder that the embedded server's account can pass."""
    folder = Path(tempfile.mkdtemp(prefix="up-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder / "data"
    EmbeddedPostgres(folder / "data").stop()
    shutil.rmtree(folder)


@pytest.fixture
def start(tmp_path: Path, data_dir: Path) -> Iterator[Callable[..., Run]]:
    """Starts commands with no settings but the given ones; what still runs at the end is killed."""
    runs: list[Run] = []
    names = settings.variables()

    def make(*command: str, output: int | None = None, **variables: str) -> Run:
        environment = {name: value for name, value in os.environ.items() if name.removesuffix("_FILE") not in names}
        log = tmp_path / f"run-{len(runs)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT if command[0] == "manage.py" else tmp_path,
                env={**environment, "DATA_DIR": str(data_dir), **variables},
                stdin=subprocess.DEVNULL,
                stdout=file if output is None else output,
                stderr=file,
                start_new_session=True,
            )
        runs.append(Run(process, log))
        return runs[-1]

    yield make
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


@pytest.fixture
def up(start: Callable[..., Run], database: Database, tmp_path: Path) -> Callable[..., Run]:
    """`up` with these programs beside a database that is there already."""
    script = tmp_path / "runner.py"
    script.write_text(RUNNER)

    def make(*texts: str, method: str = "fork", output: int | None = None) -> Run:
        database_url = {"DATABASE_URL": database.url, "PYTHONPATH": str(ROOT)}
        return start(str(script), method, *texts, output=output, **database_url)

    return make


@pytest.fixture
def up_alone(start: Callable[..., Run], tmp_path: Path) -> Callable[..., Run]:
    """`up` with these programs and a database of its own under DATA_DIR."""
    script = tmp_path / "runner.py"
    script.write_text(RUNNER)

    def make(*texts: str) -> Run:
        return start(str(script), "fork", *texts, PYTHONPATH=str(ROOT))

    return make


def gone(*pids: int) -> bool:
    """Whether none of them runs; one that is dead and not yet waited for does not."""
    shown = subprocess.run(
        ["ps", "-o", "pid=,state=,args=", "-p", ",".join(map(str, pids))], capture_output=True, text=True, check=False
    ).stdout
    return all(line.split()[1].startswith("Z") for line in shown.splitlines())


def children(pid: int) -> list[int]:
    shown = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout
    return [int(child) for child in shown.split()]


def postmaster(data_dir: Path) -> int | None:
    with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
        return int((EmbeddedPostgres(data_dir).home / "cluster" / "postmaster.pid").read_text().splitlines()[0])
    return None


def test_it_names_port_and_variable_of_a_port_that_is_taken(start: Callable[..., Run], data_dir: Path) -> None:
    sandbox, console = free_ports(2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"SANDBOX_PORT": str(sandbox), "CONSOLE_PORT": str(console), "WEBHOOK_PORT": str(port)}
        run = start("manage.py", "up", **ports)
        assert run.ended() == 2
    (line,) = run.said().splitlines()
    assert line.startswith(f"error: WEBHOOK_PORT: port {port} of 127.0.0.1 cannot be used (Address already in use)")
    assert not (data_dir / "postgres").exists()


def test_it_names_two_programs_that_would_share_a_port(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    chosen = settings.load(data_dir=tmp_path, webhook_port=port, console_port=port, sandbox_port=port)
    with pytest.raises(ConfigurationError, match=rf"^WEBHOOK_PORT: port {port} is also that of SANDBOX_PORT"):
        supervisor.check_ports(chosen, supervisor.list_programs(chosen))


def test_it_names_a_host_that_is_none(tmp_path: Path) -> None:
    chosen = settings.load(data_dir=tmp_path, host="nowhere.invalid")
    run = [program for program in supervisor.list_programs(chosen) if program.name == "console"]
    with pytest.raises(ConfigurationError, match=r"^HOST: nowhere\.invalid is not an address of this machine \(.+\)$"):
        supervisor.check_ports(chosen, run)


def test_it_names_an_unreachable_database_without_its_password(start: Callable[..., Run]) -> None:
    ports = dict(zip(("SANDBOX_PORT", "CONSOLE_PORT", "WEBHOOK_PORT"), map(str, free_ports(3)), strict=True))
    (nobody,) = free_ports(1)
    run = start("manage.py", "up", DATABASE_URL=f"postgresql://owner:sesame@127.0.0.1:{nobody}/d", **ports)
    assert run.ended() == 2
    (line,) = run.said().splitlines()
    assert line.startswith("error: DATABASE_URL: the database does not answer: ")
    assert str(nobody) in line
    assert "sesame" not in line


@pytest.mark.parametrize(("name", "value"), [("ADMIN_EMAIL", "sem-arroba"), ("ADMIN_PASSWORD", "sesame")])
def test_it_names_a_first_admin_that_cannot_be_made(
    name: str, value: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(ConfigurationError) as refused:
            supervisor.up([])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert refused.value.detail.startswith(f"{name}: ")
    assert value not in refused.value.detail


def test_it_refuses_a_second_installation_on_the_same_data(start: Callable[..., Run], data_dir: Path) -> None:
    ports = dict(zip(("SANDBOX_PORT", "CONSOLE_PORT", "WEBHOOK_PORT"), map(str, free_ports(3)), strict=True))
    with EmbeddedPostgres(data_dir) as server:
        run = start("manage.py", "up", **ports)
        assert run.ended() == 2
        assert server.alive()
    (line,) = run.said().splitlines()
    assert line == f"error: DATA_DIR: another supervisor already runs the database in {server.home}"


def test_it_says_that_it_already_runs_on_the_same_data(up: Callable[..., Run], data_dir: Path) -> None:
    first = up(WAITS)
    pids = first.pids()
    second = up(WAITS)
    assert second.ended() == 1
    (line,) = second.said().splitlines()
    assert line.startswith(f"error: DATA_DIR: it is already running on {data_dir}; ")
    assert not gone(*pids)
    assert first.told(signal.SIGTERM) == 0
    third = up(WAITS)
    third.pids()
    assert third.told(signal.SIGTERM) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server under another account")
def test_it_says_where_the_database_lives_when_it_cannot_be_in_its_folder(
    up_alone: Callable[..., Run], data_dir: Path
) -> None:
    data_dir.parent.chmod(0o700)
    server = EmbeddedPostgres(data_dir)
    try:
        run = up_alone(WAITS)
        run.pids()
        assert run.told(signal.SIGTERM) == 0
    finally:
        shutil.rmtree(server.home.parent)
    (place,) = run.lines(r"it uses (.+)")
    assert place == str(server.home)
    assert not server.home.is_relative_to(data_dir)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "http://127.0.0.1:8511"),
        ("0.0.0.0", "http://127.0.0.1:8511"),
        ("::1", "http://[::1]:8511"),
        ("::", "http://[::1]:8511"),
    ],
)
def test_it_shows_an_address_that_a_browser_takes(host: str, shown: str, tmp_path: Path) -> None:
    assert supervisor.get_console_url(settings.load(data_dir=tmp_path, host=host, console_port=8511)) == shown


def test_it_starts_a_crashed_program_again_and_can_stop_it_then(up: Callable[..., Run], tmp_path: Path) -> None:
    marker = str(tmp_path / "stumbled")
    stumbles = f"import os\nif not os.path.exists({marker!r}): open({marker!r}, 'w').close(); os._exit(7)\n{WAITS}"
    run = up(stumbles, WAITS)
    pids = run.pids(2)
    assert run.lines(r"p1 ended \(rc=(\d+)\): starting it again") == ["7"]
    begun = time.monotonic()
    assert run.told(signal.SIGTERM) == 0
    assert time.monotonic() - begun < 1.9  # of its own accord: it is killed after 2 s
    assert gone(*pids)


def test_it_gives_up_on_a_program_that_crashes_five_times_in_a_row(up: Callable[..., Run]) -> None:
    run = up(CRASHES, WAITS)
    assert run.ended() == 1
    assert len(run.lines("no luck")) == 5
    assert run.said().splitlines()[-1].startswith("error: p1 crashed 5 times in a row")
    assert gone(*run.pids())


@pytest.mark.parametrize(
    ("method", "number"),
    [
        pytest.param("fork", signal.SIGINT, id="ctrl-c"),
        pytest.param("spawn", signal.SIGINT, id="ctrl-c-where-nothing-forks", marks=pytest.mark.slow),
        pytest.param("spawn", signal.SIGHUP, id="terminal-closed", marks=pytest.mark.slow),
    ],
)
def test_it_stops_everything_when_its_terminal_says_so(up: Callable[..., Run], method: str, number: int) -> None:
    run = up(WAITS, WAITS, method=method)
    pids = run.pids(2)
    keepers = children(run.process.pid)
    os.killpg(run.process.pid, number)  # as a terminal does: to every process of the group
    assert run.ended() == 0
    assert run.lines(r"p\d stopped \(rc=(-?\d+)\)") == [str(-signal.SIGTERM)] * 2  # told, not killed
    assert gone(*pids, *keepers)
    if number == signal.SIGINT:  # Python's own resource tracker does not outlive the terminal in silence
        assert "Traceback" not in run.said()


def test_it_kills_a_program_that_does_not_listen(up: Callable[..., Run]) -> None:
    run = up(DEAF, WAITS)
    pids = run.pids(2)
    assert run.told(signal.SIGTERM) == 0
    assert gone(*pids)


def test_it_leaves_nothing_behind_when_nobody_reads_its_output_any_more(up: Callable[..., Run]) -> None:
    talks = "import os\nprint('pid', os.getpid(), flush=True)\nwhile True: print('and so on', flush=True)"
    reader, writer = os.pipe()
    run = up(talks, WAITS, output=writer)
    os.close(writer)
    heard = b""
    while len(found := re.findall(rb"pid (\d+)\n", heard)) < 2:
        heard += os.read(reader, 4096)
    os.close(reader)
    assert run.ended() != 0
    assert gone(*map(int, found))


def test_it_stops_everything_when_a_programs_keeper_is_killed(up: Callable[..., Run]) -> None:
    run = up(WAITS, WAITS)
    pids = run.pids(2)
    os.kill(children(run.process.pid)[0], signal.SIGKILL)
    assert run.ended() == 1
    assert run.lines(r"error: (p\d) ")
    assert gone(*pids)


def test_it_shows_the_first_admin_once_brings_its_database_back_and_leaves_nothing_running(
    up_alone: Callable[..., Run], data_dir: Path
) -> None:
    first = up_alone(WAITS)
    pids = first.pids()
    (password,) = first.lines(r"(?m)^    admin@plushify\.local\n    (\S{16,})$")
    assert first.said().count(password) == 1

    server = EmbeddedPostgres(data_dir)
    killed = postmaster(data_dir)
    assert killed is not None
    for pid in (killed, *children(killed)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    first.wait_for("the embedded database died: starting it again")
    wait_for(server.alive, 20, "the database is not back")
    back = postmaster(data_dir)
    assert back is not None
    assert back != killed
    assert gone(killed)

    assert first.told(signal.SIGINT) == 0
    assert gone(*pids, back)
    assert not server.alive()

    second = up_alone(WAITS)
    pids = second.pids()
    head = postmaster(data_dir)
    assert head is not None
    assert "Primeiro acesso" not in second.said()
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("select email from auth.users").fetchall() == [("admin@plushify.local",)]
    # Killed itself, it leaves no program behind, only its server, which the next one takes over.
    keepers = [child for child in children(second.process.pid) if child != head]
    second.told(signal.SIGKILL)
    wait_for(lambda: gone(*pids, *keepers), 10, "the programs of a killed supervisor run on")
    third = up_alone(WAITS)
    pids = third.pids()
    assert postmaster(data_dir) == head
    assert third.told(signal.SIGTERM) == 0
    assert gone(*pids, head)


def test_it_leaves_no_database_behind_when_its_start_is_broken_off(
    up_alone: Callable[..., Run], data_dir: Path
) -> None:
    run = up_alone(WAITS)
    head = wait_for(lambda: postmaster(data_dir), 30)
    assert run.told(signal.SIGTERM) == 0
    assert gone(head)
    assert not children(head)


@pytest.mark.slow
def test_it_runs_the_whole_installation_and_finds_its_data_again(start: Callable[..., Run], data_dir: Path) -> None:
    sandbox, webhook, console = free_ports(3)
    ports = {"SANDBOX_PORT": str(sandbox), "WEBHOOK_PORT": str(webhook), "CONSOLE_PORT": str(console)}
    (nobody,) = free_ports(1)
    proxy = f"http://127.0.0.1:{nobody}"  # as office networks set it; it knows no way back to this machine
    seen = []
    for _ in range(2):
        run = start("manage.py", "up", http_proxy=proxy, HTTP_PROXY=proxy, **ports)
        run.wait_for(f"Console: http://127.0.0.1:{console}", seconds=60)
        # Not that its ports are taken: with others it could not start either.
        again = start("manage.py", "up", **ports)
        assert again.ended() == 2
        assert again.said().startswith("error: DATA_DIR: it is already running on ")
        assert answers(f"http://127.0.0.1:{console}/_stcore/health").text == "ok"
        state = wait_for(lambda: answers(f"http://127.0.0.1:{webhook}/healthz"), 30).json()
        assert state["ok"], state
        assert "<html" in answers(f"http://127.0.0.1:{sandbox}/_sandbox").text.lower()
        with psycopg.connect(EmbeddedPostgres(data_dir).url()) as connection:
            seen.append(connection.execute("select id, email from auth.users").fetchall())
        pids = [int(pid) for pid in run.lines(r"started \(pid=(\d+)\)")]
        assert len(pids) == 4
        head = postmaster(data_dir)
        assert head is not None
        assert run.told(signal.SIGINT) == 0
        assert gone(*pids, head)
        assert not children(head)
        assert "Traceback" not in run.said()
    assert len(seen[0]) == 1
    assert seen[0] == seen[1]
    assert len(run.lines("Primeiro acesso")) == 0


def answers(url: str) -> httpx.Response:
    """The answer, once it is 200."""

    def asked() -> httpx.Response | None:
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(url, timeout=5, follow_redirects=True)
            return answer if answer.status_code == 200 else None
        return None

    found: httpx.Response = wait_for(asked, 30, f"{url} does not answer 200")
    return found
