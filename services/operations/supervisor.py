"""`manage.py up`: runs the whole installation on one machine.

It starts everything in order, restarts what crashes, and stops it together.
"""

import contextlib
import fcntl
import http.client
import os
import shlex
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from services import settings
from services.accounts import credentials, provisioning
from services.db.embedded import EmbeddedPostgres
from services.db.migrate import migrate
from services.errors import ConfigurationError, InvalidInput
from services.operations.database_access import open_database
from services.operations.process_manager import ProcessManager
from services.settings import Settings

DATABASE_WATCH_SECONDS = 1.0
CONSOLE_READY_SECONDS = 60.0
EXIT_FAILED = 1


@dataclass(frozen=True)
class Program:
    """One process of the installation. `port` is the one that it takes; the variable `<NAME>_PORT` sets it."""

    name: str
    command: tuple[str, ...]
    port: int | None = None


def list_programs(configured: Settings) -> list[Program]:
    """What runs, in the order in which it is started."""
    python = sys.executable
    address = ("--server.port", str(configured.http.console_port), "--server.address", configured.http.host)
    found = [
        Program("webhook", (python, "webhook.py"), configured.http.webhook_port),
        Program("worker", (python, "worker.py")),
        Program("console", (python, "-m", "streamlit", "run", "app.py", *address), configured.http.console_port),
    ]
    sandbox = [Program("sandbox", (python, "-m", "sandbox"), configured.wppconnect.sandbox_port)]
    return sandbox + found if configured.wppconnect.sandboxed else found


def up(chosen: Sequence[Program] | None = None) -> int:
    """Run everything until Ctrl-C, SIGTERM or the terminal's end; returns the exit code, 0 for those.

    Raises: ConfigurationError, whose line names the fault.
    """
    # Before the programs run: a start that is broken off must not leave a database behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup's wish is respected
        signal.signal(signal.SIGHUP, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    try:
        return _run_until_stopped(chosen)
    except KeyboardInterrupt:
        return 0


def _run_until_stopped(chosen: Sequence[Program] | None) -> int:
    run = list(chosen) if chosen is not None else list_programs(settings.get())
    # Before the ports: those of an installation that runs already are taken, and changing them would not help.
    with _installation_lock(settings.get().storage.data_dir):
        check_ports(settings.get(), run)
        return _run_programs(run)


def _run_programs(run: Sequence[Program]) -> int:
    with open_database() as embedded:
        configured = settings.get()
        assert configured.database.url is not None
        if embedded is not None and embedded.elsewhere:
            places = ", ".join(map(str, embedded.elsewhere))
            typer.echo(f"The embedded database's account cannot pass the folders above its files; it uses {places}")
        migrate(configured.database.url.get_secret_value())
        _show_first_admin(configured)
        environment = {
            **os.environ,
            # Everybody's own, and the same after each start: Streamlit signs its XSRF cookies with it.
            # uvicorn's own belief in whoever says to be a proxy on this machine: TRUSTED_PROXIES says who is.
            "FORWARDED_ALLOW_IPS": "",
            "STREAMLIT_SERVER_COOKIE_SECRET": configured.storage.generated_secret("streamlit_cookie_secret"),
            "PYTHONUNBUFFERED": "1",
            # Streamlit's server asks this, as the receiver asks TRUSTED_PROXIES; by itself it believes this machine.
            **({"FORWARDED_ALLOW_IPS": configured.http.trusted_proxies} if configured.http.trusted_proxies else {}),
        }
        manager = ProcessManager()
        for program in run:
            # exec: honcho starts a shell, which must not stand between us and the program.
            manager.add_process(program.name, f"exec {shlex.join(program.command)}", env=environment)
        manager.in_background(_announce_console, configured)
        if embedded is not None:
            manager.in_background(_keep_database_alive, embedded, manager)
        manager.loop()
    if manager.fault:
        typer.echo(f"error: {manager.fault}", err=True)
    return EXIT_FAILED if manager.fault else 0


@contextlib.contextmanager
def _installation_lock(data_dir: Path) -> Iterator[None]:
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


def check_ports(configured: Settings, run: Sequence[Program]) -> None:
    """Raise ConfigurationError for the first port that somebody else has, or that two programs would share."""
    taken: dict[int, str] = {}
    for program in run:
        if program.port is None:
            continue
        name, port = f"{program.name.upper()}_PORT", program.port
        if port in taken:
            raise ConfigurationError(f"{name}: port {port} is also that of {taken[port]}; change one of them")
        taken[port] = name
        _check_port("127.0.0.1" if program.name == "sandbox" else configured.http.host, port, name)


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


def _show_first_admin(configured: Settings) -> None:
    try:
        made = provisioning.create_first_admin(configured)
    except InvalidInput as error:
        name = "ADMIN_EMAIL" if isinstance(error, credentials.InvalidEmail) else "ADMIN_PASSWORD"
        raise ConfigurationError(f"{name}: {error.sentence()}") from None
    if made is None:
        return
    email, password = made
    typer.echo("")
    typer.secho("  Primeiro acesso (first sign-in), shown only once:", bold=True)
    typer.echo(f"    {get_console_url(configured)}")
    typer.echo(f"    {email}")
    typer.echo(f"    {password or '(the password in ADMIN_PASSWORD)'}")
    typer.echo("")


def get_console_url(configured: Settings) -> str:
    """Where a browser on this machine finds the console."""
    host, port = configured.http.host, configured.http.console_port
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _announce_console(configured: Settings) -> None:
    """Say where the console is once it answers."""
    console = get_console_url(configured)
    # A proxy of the environment does not know the way back to this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + CONSOLE_READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            opener.open(f"{console}/_stcore/health", timeout=2).close()
            typer.secho(f"\n  Console: {console}", bold=True)
            if configured.wppconnect.sandboxed:
                (sandbox,) = configured.wppconnect.servers()
                typer.echo(f"  Sandbox: {sandbox}/_sandbox  (scan the QR codes here)")
            typer.echo("  Ctrl-C stops everything.\n")
            return
        time.sleep(0.2)


def _keep_database_alive(embedded: EmbeddedPostgres, manager: ProcessManager) -> None:
    """Bring the embedded server up again when it dies; if that fails, stop everything."""
    while not manager.stopping:
        time.sleep(DATABASE_WATCH_SECONDS)
        if manager.stopping or embedded.alive():
            continue
        typer.echo("the embedded database died: starting it again", err=True)
        try:
            embedded.restart()
        except ConfigurationError as error:
            manager.fail(error.detail)
