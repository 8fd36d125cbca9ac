"""The real processes as subprocesses on free ports against one database. Tests start, kill and restart them."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from services import settings
from tests.support.paths import ROOT
from tests.support.sandbox_control import SandboxControl
from tests.support.waiting import POLL_SECONDS

ALL_PROCESSES = ("sandbox", "webhook", "worker", "console")
START_TIMEOUT_SECONDS = 45.0
STOP_TIMEOUT_SECONDS = 15.0

SHARED_TOKEN = "the-shared-webhook-token-of-the-tests"
SERVER_TOKEN = "the-secret-key-of-the-sandbox"
COOKIE_KEY = "the-key-that-signs-the-sign-in-cookies-in-tests"
# Names another module than `sandbox` that serves as the sandbox.
SANDBOX_MODULE = "TEST_SANDBOX_MODULE"
STREAMLIT_SECRET = "the-secret-of-streamlits-own-cookies-in-tests"


class Processes:
    """The processes of one installation. `environment` is what each of them is started with."""

    def __init__(self, database_url: str, data_dir: Path, **env: str) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        sandbox, webhook, console = free_ports(3)
        self.folder = data_dir
        self.webhook_url = f"http://127.0.0.1:{webhook}"
        self.console_url = f"http://127.0.0.1:{console}"
        names = set(settings.variables())
        hidden = names | {f"{name}_FILE" for name in names}
        self.environment = {name: value for name, value in os.environ.items() if name not in hidden} | {
            "DATABASE_URL": database_url,
            "DATA_DIR": str(data_dir),
            "SANDBOX_PORT": str(sandbox),
            "WEBHOOK_PORT": str(webhook),
            "CONSOLE_PORT": str(console),
            "WPP_SERVER_TOKEN": SERVER_TOKEN,
            "QR_WEBHOOK_VERIFY_TOKEN": SHARED_TOKEN,
            "AUTH_COOKIE_KEY": COOKIE_KEY,
            "STREAMLIT_SERVER_COOKIE_SECRET": STREAMLIT_SECRET,
            "PYTHONUNBUFFERED": "1",
            **env,
        }
        self.sandbox_url = f"http://127.0.0.1:{self.environment['SANDBOX_PORT']}"
        self.settings = settings.load(
            **{name.lower(): value for name, value in self.environment.items() if name in names}
        )
        self.control = SandboxControl(self.sandbox_url)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        # Where the newest start of each process begins in its log.
        self._log_starts: dict[str, int] = {}

    def secret_values(self) -> list[str]:
        """Every secret of this installation in clear, to search pages and logs for."""
        return [*self.settings.secret_values(), STREAMLIT_SECRET]

    def start(self, *names: str) -> None:
        """Start these processes at once and wait until each answers. Raises TimeoutError with the end of its log."""
        for name in names:
            self._launch(name)
        for name in names:
            self.wait_until_ready(name)

    def kill(self, *names: str) -> None:
        """kill -9: no farewell, no clean-up."""
        for name in names:
            self._running[name].kill()
        for name in names:
            self._running.pop(name).wait(STOP_TIMEOUT_SECONDS)

    def restart(self, *names: str) -> None:
        """kill -9 whatever of these still runs and start it again."""
        self.kill(*(name for name in names if name in self._running))
        self.start(*names)

    def stop(self, *names: str) -> None:
        """Tell these (default: all) to stop, as a supervisor does; one that does not within 15 s is killed."""
        chosen = names or tuple(self._running)
        for name in chosen:
            self._running[name].terminate()
        for name in chosen:
            process = self._running.pop(name)
            try:
                process.wait(STOP_TIMEOUT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """Stop everything."""
        self.stop()
        self.control.close()

    def running(self, name: str) -> bool:
        """Whether the process is up."""
        return name in self._running and self._running[name].poll() is None

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def log_file(self, name: str) -> Path:
        """Everything that the process has said since the first start; later starts are appended."""
        return self.folder / f"{name}.log"

    def log(self, name: str) -> str:
        path = self.log_file(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self) -> str:
        """All logs together, to search them."""
        return "\n".join(self.log(name) for name in ALL_PROCESSES)

    def wait_until_ready(self, name: str) -> None:
        """Wait until the process answers (the worker: until it says that it has started)."""
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._ready(name):
            if self._running[name].poll() is not None:
                raise RuntimeError(f"{name} ended with {self._running[name].returncode}:\n{self.log(name)[-3000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} does not answer:\n{self.log(name)[-3000:]}")
            time.sleep(POLL_SECONDS)

    def _ready(self, name: str) -> bool:
        if name == "worker":
            return b'"worker_started"' in self.log_file(name).read_bytes()[self._log_starts[name] :]
        url = {
            "sandbox": f"{self.sandbox_url}/healthz",
            "webhook": f"{self.webhook_url}/healthz",  # 503 while the worker is away: it answers all the same
            "console": f"{self.console_url}/_stcore/health",
        }[name]
        try:
            answer = httpx.get(url, timeout=2)
        except httpx.HTTPError:
            return False
        return name == "webhook" or answer.status_code == 200

    def _launch(self, name: str) -> None:
        assert not self.running(name), f"{name} runs already"
        path = self.log_file(name)
        with path.open("ab") as log:
            self._log_starts[name] = log.tell()
            self._running[name] = subprocess.Popen(
                [sys.executable, *self._command(name)],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _command(self, name: str) -> list[str]:
        address = ["--server.port", str(self.settings.http.console_port), "--server.address", "127.0.0.1"]
        return {
            "sandbox": ["-m", self.environment.get(SANDBOX_MODULE, "sandbox")],
            "webhook": ["webhook.py"],
            "worker": ["worker.py"],
            "console": ["-m", "streamlit", "run", "app.py", *address],
        }[name]


@contextlib.contextmanager
def running_processes(
    database_url: str, data_dir: Path, processes: Sequence[str] = ALL_PROCESSES, **env: str
) -> Iterator[Processes]:
    """An installation of which `processes` answer, for the block; `env` adds to (or replaces) their environment."""
    started = Processes(database_url, data_dir, **env)
    try:
        started.start(*processes)
        yield started
    finally:
        started.close()


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment; all are held until all are found, so that no two are the same."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]
