"""`manage.py up`: everything on one machine, started in order, restarted when it crashes, stopped together."""

import contextlib
import fcntl
import http.client
import multiprocessing
import os
import queue
import shlex
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psycopg
import typer
from honcho.manager import Manager
from honcho.process import Process

from services import identity, settings
from services.db.embedded import EmbeddedPostgres
from services.db.engine import CONNECT_TIMEOUT_SECONDS, psycopg_url
from services.db.migrate import migrate
from services.errors import ConfigurationError, InvalidInput
from services.settings import Settings

# A program that crashes this often in this long will not get better by itself.
CRASHES = 5
CRASH_WINDOW_SECONDS = 30.0
RESTART_SECONDS = 0.5
WATCH_SECONDS = 1.0
READY_SECONDS = 60.0
# The worker finishes the jobs under way (20 s at most); what does not stop by then is killed.
STOP_SECONDS = 25.0
FAILED = 1


@dataclass(frozen=True)
class Program:
    """One process of the installation. `port` names the setting of the port that it takes."""

    name: str
    command: tuple[str, ...]
    port: str | None = None


def programs(configured: Settings) -> list[Program]:
    """What runs, in the order in which it is started."""
    python = sys.executable
    address = ("--server.port", str(configured.console_port), "--server.address", configured.host)
    found = [
        Program("webhook", (python, "webhook.py"), "webhook_port"),
        Program("worker", (python, "worker.py")),
        Program("console", (python, "-m", "streamlit", "run", "app.py", *address), "console_port"),
    ]
    sandbox = [Program("sandbox", (python, "-m", "sandbox"), "sandbox_port")]
    return sandbox + found if configured.sandboxed else found


def up(chosen: Sequence[Program] | None = None) -> int:
    """Run everything until Ctrl-C, SIGTERM or the terminal's end; returns the exit code, 0 for those.

    Raises ConfigurationError, whose line names the fault.
    """
    # Before the programs run: a start that is broken off must not leave a database behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup's wish is respected
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    try:
        return _up(chosen)
    except KeyboardInterrupt:
        return 0


def _up(chosen: Sequence[Program] | None) -> int:
    run = list(chosen) if chosen is not None else programs(settings.get())
    # Before the ports: those of an installation that runs already are taken, and changing them would not help.
    with _alone(settings.get().data_dir):
        check_ports(settings.get(), run)
        return _supervise(run)


def _supervise(run: Sequence[Program]) -> int:
    with database() as embedded:
        configured = settings.get()
        assert configured.database_url is not None
        if embedded is not None and embedded.elsewhere:
            places = ", ".join(map(str, embedded.elsewhere))
            typer.echo(f"The embedded database's account cannot pass the folders above its files; it uses {places}")
        migrate(configured.database_url.get_secret_value())
        _greet_first_admin(configured)
        environment = {
            **os.environ,
            # Everybody's own, and the same after each start: Streamlit signs its XSRF cookies with it.
            # uvicorn's own belief in whoever says to be a proxy on this machine: TRUSTED_PROXIES says who is.
            "FORWARDED_ALLOW_IPS": "",
            "STREAMLIT_SERVER_COOKIE_SECRET": configured.generated_secret("streamlit_cookie_secret"),
            "PYTHONUNBUFFERED": "1",
            # Streamlit's server asks this, as the receiver asks TRUSTED_PROXIES; by itself it believes this machine.
            **({"FORWARDED_ALLOW_IPS": configured.trusted_proxies} if configured.trusted_proxies else {}),
        }
        manager = Supervisor()
        for program in run:
            # exec: honcho starts a shell, which must not stand between us and the program.
            manager.add_process(program.name, f"exec {shlex.join(program.command)}", env=environment)
        manager.in_background(_announce, configured)
        if embedded is not None:
            manager.in_background(_keep_alive, embedded, manager)
        manager.loop()
    if manager.fault:
        typer.echo(f"error: {manager.fault}", err=True)
    return FAILED if manager.fault else 0


@contextlib.contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """Raise ConfigurationError where an `up` runs on this folder already, or one that was killed still stops."""
    path = data_dir.absolute() / "up.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a")
    except OSError as error:
        raise ConfigurationError(f"DATA_DIR: cannot use {path}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(
                f"DATA_DIR: it is already running on {path.parent}; stop it first, or set another DATA_DIR and ports"
            ) from None
        yield


@contextlib.contextmanager
def database() -> Iterator[EmbeddedPostgres | None]:
    """A database for the block: the configured one (None), or our own, whose URL becomes this process's DATABASE_URL.

    Raises ConfigurationError where none can be had, or another process already supervises ours.
    """
    configured = settings.get()
    if configured.database_url is not None:
        _check_reachable(configured.database_url.get_secret_value())
        yield None
        return
    with EmbeddedPostgres(configured.data_dir) as embedded:
        _use(embedded.url())
        yield embedded


@contextlib.contextmanager
def any_database() -> Iterator[None]:
    """As `database`, for a command beside a running installation: its embedded server is used, else one is started."""
    configured = settings.get()
    if configured.database_url is None and (running := EmbeddedPostgres(configured.data_dir)).alive():
        _use(running.url())
        yield
        return
    with database():
        yield


def use_running_database() -> None:
    """Point this process at our own embedded server where it runs and none is configured; start nothing."""
    configured = settings.get()
    if configured.database_url is None and (running := EmbeddedPostgres(configured.data_dir)).alive():
        _use(running.url())


def check_ports(configured: Settings, run: Sequence[Program]) -> None:
    """Raise ConfigurationError for the first port that somebody else has, or that two programs would share."""
    taken: dict[int, str] = {}
    for program in run:
        if program.port is None:
            continue
        name, port = program.port.upper(), getattr(configured, program.port)
        if port in taken:
            raise ConfigurationError(f"{name}: port {port} is also that of {taken[port]}; change one of them")
        taken[port] = name
        _check_port("127.0.0.1" if program.name == "sandbox" else configured.host, port, name)


def _check_port(host: str, port: int, name: str) -> None:
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise ConfigurationError(f"HOST: {host} is not an address of this machine ({error.strerror})") from None
    with socket.socket(family, kind) as probe:
        # As the servers do: a port that is only waiting out its last connections can be taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            raise ConfigurationError(
                f"{name}: port {port} of {host} cannot be used ({error.strerror}); stop what has it, or set {name}"
            ) from None


class Supervisor(Manager):  # type: ignore[misc]
    """honcho's manager, which starts, prints and waits; each program's keeper restarts it, and stops it at the end."""

    def __init__(self) -> None:
        super().__init__()
        self._pid = os.getpid()
        # Nothing is ever written: the pipe's end tells the keepers to stop. Our own death, kill -9 too, is that end.
        self._told, self._tell = multiprocessing.Pipe(duplex=False)
        self._process_ctor = partial(RestartedProcess, told=self._told, tell=self._tell)
        self._threads: list[threading.Thread] = []
        self.stopping = False
        self.fault = ""

    def in_background(self, target: Callable[..., None], *args: Any) -> None:
        """Run `target` in a thread once the programs are started: forking beside running threads may deadlock."""
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))

    def loop(self) -> None:
        """Run until every program has stopped. Whatever happens here, a closed terminal too, none stays behind."""
        try:
            super().loop()
        finally:
            self.terminate()
            keepers = [known["process"] for known in self._processes.values() if "process" in known]
            while any(keeper.is_alive() for keeper in keepers):
                with contextlib.suppress(queue.Empty):  # unread lines would keep their keeper waiting
                    self.events.get(timeout=RESTART_SECONDS)

    def _start(self) -> None:
        super()._start()
        for thread in self._threads:
            thread.start()

    def fail(self, fault: str) -> None:
        """Stop everything because of `fault`."""
        self.fault = self.fault or fault
        self.terminate()

    def terminate(self) -> None:
        """Stop every program; none is started again. honcho calls it at a signal and when a program is given up."""
        if self.stopping or os.getpid() != self._pid:  # a signal may come just after a keeper was forked
            return
        self.stopping = True
        given_up = [name for name, known in self._processes.items() if self._has_stopped(known)]
        if given_up:
            self.fault = f"{given_up[0]} crashed {CRASHES} times in a row; its last lines above say why"
        self._tell.close()
        self.kill()

    def kill(self) -> None:
        """Kill the programs whose keeper was killed: the keepers of the others see to them."""
        for known in self._processes.values():
            if "pid" in known and "returncode" not in known and not known["process"].is_alive():
                self._procmgr.kill(known["pid"])

    def _has_stopped(self, known: dict[str, Any]) -> bool:
        return "returncode" in known or ("process" in known and not known["process"].is_alive())

    def _all_started(self) -> bool:
        return all("pid" in known or self._has_stopped(known) for known in self._processes.values())

    def _any_stopped(self) -> bool:
        return any(map(self._has_stopped, self._processes.values()))

    def _all_stopped(self) -> bool:
        return all(map(self._has_stopped, self._processes.values()))


class RestartedProcess(Process):  # type: ignore[misc]
    """A program's keeper: starts it again when it ends unasked, until it crashes too often, and stops it when told."""

    def __init__(self, *args: Any, told: Connection, tell: Connection, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told = told
        self._tell = tell
        self._manager = os.getpid()
        self._stop: dict[str, Any] = {}

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:  # noqa: ARG002
        """Runs in a process of its own, which honcho starts; reports lines, starts and the final stop to `events`."""
        # A terminal's signals come here too, but the manager decides. Not SIG_IGN, which the programs would inherit.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self._tell.close()  # the manager's own is to be the last one
        threading.Thread(target=self._stop_when_told, daemon=True).start()
        ends: deque[float] = deque(maxlen=CRASHES)
        while True:
            super().run(events)
            ends.append(time.monotonic())
            if self._told.poll(RESTART_SECONDS):
                break
            if len(ends) == CRASHES and ends[-1] - ends[0] < CRASH_WINDOW_SECONDS:
                self._send_message(f"{self.name} crashed {CRASHES} times in a row: giving up\n".encode())
                break
            self._send_message(f"{self.name} ended (rc={self._child.returncode}): starting it again\n".encode())
        super()._send_message(self._stop, "stop")
        if os.getppid() != self._manager:
            events.cancel_join_thread()  # nobody reads any more

    def _send_message(self, data: Any, type: str = "line") -> None:
        if type == "stop":  # one of those ends everything: kept for the end
            self._stop = data
            return
        super()._send_message(data, type)
        if type == "start" and self._told.poll():
            self._signal(signal.SIGTERM)  # told between two starts

    def _stop_when_told(self) -> None:
        self._told.poll(None)
        self._signal(signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a zombie
                os.killpg(self._child.pid, number)


def _use(url: str) -> None:
    os.environ["DATABASE_URL"] = url
    settings.get.cache_clear()


def _check_reachable(url: str) -> None:
    try:
        psycopg.connect(psycopg_url(url), connect_timeout=CONNECT_TIMEOUT_SECONDS).close()
    except psycopg.OperationalError as error:
        # libpq's text names host and port and never the password.
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"DATABASE_URL: the database does not answer: {reason}") from None


def _greet_first_admin(configured: Settings) -> None:
    try:
        made = identity.first_admin(configured)
    except InvalidInput as error:
        name = "ADMIN_EMAIL" if isinstance(error, identity.InvalidEmail) else "ADMIN_PASSWORD"
        raise ConfigurationError(f"{name}: {error.sentence()}") from None
    if made is None:
        return
    email, password = made
    typer.echo("")
    typer.secho("  Primeiro acesso (first sign-in), shown only once:", bold=True)
    typer.echo(f"    {address(configured)}")
    typer.echo(f"    {email}")
    typer.echo(f"    {password or '(the password in ADMIN_PASSWORD)'}")
    typer.echo("")


def address(configured: Settings) -> str:
    """Where a browser on this machine finds the console."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(configured.host, configured.host)  # noqa: S104
    return f"http://[{host}]:{configured.console_port}" if ":" in host else f"http://{host}:{configured.console_port}"


def _announce(configured: Settings) -> None:
    """Say where the console is once it answers."""
    console = address(configured)
    # A proxy of the environment does not know the way back to this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            opener.open(f"{console}/_stcore/health", timeout=2).close()
            typer.secho(f"\n  Console: {console}", bold=True)
            if configured.sandboxed:
                typer.echo(f"  Sandbox: http://127.0.0.1:{configured.sandbox_port}/_sandbox  (scan the QR codes here)")
            typer.echo("  Ctrl-C stops everything.\n")
            return
        time.sleep(0.2)


def _keep_alive(embedded: EmbeddedPostgres, manager: Supervisor) -> None:
    """Bring the embedded server up again when it dies; if that fails, stop everything."""
    while not manager.stopping:
        time.sleep(WATCH_SECONDS)
        if manager.stopping or embedded.alive():
            continue
        typer.echo("the embedded database died: starting it again", err=True)
        try:
            embedded.restart()
        except ConfigurationError as error:
            manager.fail(error.detail)
