"""`manage.py up`: everything on one machine, started in order, restarted when it crashes, stopped together."""

import contextlib
import multiprocessing
import os
import shlex
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import typer
from honcho.manager import Manager
from honcho.process import Process

from services import identity, settings
from services.db.embedded import EmbeddedPostgres
from services.db.engine import CONNECT_TIMEOUT_SECONDS, psycopg_url
from services.db.migrate import migrate
from services.errors import ConfigurationError
from services.settings import Settings

# A program that crashes this often in this long will not get better by itself.
CRASHES = 5
CRASH_WINDOW_SECONDS = 30.0
RESTART_SECONDS = 0.5
WATCH_SECONDS = 1.0
READY_SECONDS = 60.0


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
    """Run everything until Ctrl-C; returns the exit code. Raises ConfigurationError, whose line names the fault."""
    run = list(chosen) if chosen is not None else programs(settings.get())
    check_ports(settings.get(), run)
    with database() as embedded:
        configured = settings.get()
        assert configured.database_url is not None
        migrate(configured.database_url.get_secret_value())
        _greet_first_admin(configured)
        environment = {
            **os.environ,
            # Everybody's own, and the same after each start: Streamlit signs its XSRF cookies with it.
            "STREAMLIT_SERVER_COOKIE_SECRET": configured.generated_secret("streamlit_cookie_secret"),
            "PYTHONUNBUFFERED": "1",
        }
        manager = Supervisor()
        for program in run:
            # exec: honcho starts a shell, which must not stand between us and the program.
            manager.add_process(program.name, f"exec {shlex.join(program.command)}", env=environment)
        manager.in_background(_announce, configured)
        if embedded is not None:
            manager.in_background(_keep_alive, embedded, manager)
        manager.loop()
        return 0 if manager.told_to_stop else int(manager.returncode or 1)


@contextlib.contextmanager
def database() -> Iterator[EmbeddedPostgres | None]:
    """A database for the block: the configured one (None), or our own, whose URL becomes this process's DATABASE_URL.

    One of ours that another process supervises is used as it is. Raises ConfigurationError where none can be had.
    """
    configured = settings.get()
    if configured.database_url is not None:
        _check_reachable(configured.database_url.get_secret_value())
        yield None
        return
    embedded = EmbeddedPostgres(configured.data_dir)
    _use(embedded.start())
    try:
        yield embedded
    finally:
        embedded.stop()


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


def check_ports(configured: Settings, run: Sequence[Program]) -> None:
    """Raise ConfigurationError for the first port that somebody else has."""
    for program in run:
        if program.port is None:
            continue
        port = getattr(configured, program.port)
        host = "127.0.0.1" if program.name == "sandbox" else configured.host
        with socket.socket() as probe:
            # As the servers do: a port that is only waiting out its last connections can be taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                reason = (
                    f"port {port} cannot be used ({error.strerror}); stop what has it, or set {program.port.upper()}"
                )
                raise ConfigurationError(f"{program.port.upper()}: {reason}") from None


class Supervisor(Manager):  # type: ignore[misc]
    """honcho's manager, but a program that crashes is started again instead of taking the others with it."""

    def __init__(self) -> None:
        super().__init__()
        self._stopping = multiprocessing.Event()
        self._process_ctor = partial(RestartedProcess, stopping=self._stopping)
        self._threads: list[threading.Thread] = []
        self.told_to_stop = False

    def in_background(self, target: Callable[..., None], *args: Any) -> None:
        """Run `target` in a thread once the programs are started: forking beside running threads may deadlock."""
        self._threads.append(threading.Thread(target=target, args=args, daemon=True))

    def _start(self) -> None:
        super()._start()
        for thread in self._threads:
            thread.start()

    def terminate(self) -> None:
        """Stop every program; none is started again."""
        self.told_to_stop = self.told_to_stop or not self._any_stopped()
        self._stopping.set()
        super().terminate()


class RestartedProcess(Process):  # type: ignore[misc]
    """A program that is started again when it ends unasked, until it crashes too often."""

    def __init__(self, *args: Any, stopping: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stopping = stopping

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:
        """Runs in a process of its own, which honcho starts; reports lines, starts and the final stop to `events`."""
        ends: deque[float] = deque(maxlen=CRASHES)
        report = _WithoutStops(events)
        while True:
            super().run(report, ignore_signals)
            ends.append(time.monotonic())
            if self._stopping.wait(RESTART_SECONDS):
                break
            if len(ends) == CRASHES and ends[-1] - ends[0] < CRASH_WINDOW_SECONDS:
                self._send_message(f"{self.name} crashed {CRASHES} times in a row: giving up\n".encode())
                break
            self._send_message(f"{self.name} ended (rc={self._child.returncode}): starting it again\n".encode())
        events.put(report.last_stop)


class _WithoutStops:
    """The manager's queue, but for the stops: one of those ends everything."""

    def __init__(self, events: Any) -> None:
        self._events = events
        self.last_stop: Any = None

    def put(self, message: Any) -> None:
        if message.type == "stop":
            self.last_stop = message
        else:
            self._events.put(message)


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
    made = identity.first_admin(configured)
    if made is None:
        return
    email, password = made
    typer.echo("")
    typer.secho("  Primeiro acesso (first sign-in), shown only once:", bold=True)
    typer.echo(f"    http://{configured.host}:{configured.console_port}")
    typer.echo(f"    {email}")
    typer.echo(f"    {password or '(the password in ADMIN_PASSWORD)'}")
    typer.echo("")


def _announce(configured: Settings) -> None:
    """Say where the console is once it answers."""
    address = f"http://{configured.host}:{configured.console_port}"
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=2).close()
            typer.secho(f"\n  Console: {address}", bold=True)
            if configured.sandboxed:
                typer.echo(f"  Sandbox: http://127.0.0.1:{configured.sandbox_port}/_sandbox  (scan the QR codes here)")
            typer.echo("  Ctrl-C stops everything.\n")
            return
        time.sleep(0.2)


def _keep_alive(embedded: EmbeddedPostgres, manager: Supervisor) -> None:
    """Bring the embedded server up again when it dies; if that fails, stop everything."""
    while not manager.told_to_stop:
        time.sleep(WATCH_SECONDS)
        if manager.told_to_stop or embedded.alive():
            continue
        typer.echo("the embedded database died: starting it again", err=True)
        try:
            embedded.restart()
        except ConfigurationError as error:
            typer.echo(f"error: {error.detail}", err=True)
            manager.terminate()
            return
