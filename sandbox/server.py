"""Runs the stand-in inside another process, for tests, benchmarks and demonstrations."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from sandbox.app import SandboxApp, create_app
from sandbox.state import Config, World

START_TIMEOUT_SECONDS = 10.0
STOP_TIMEOUT_SECONDS = 10.0
BACKLOG = 2048


def uvicorn_config(app: SandboxApp, host: str = "127.0.0.1", port: int = 0) -> uvicorn.Config:
    """No access log: `generate-token` carries the SECRET_KEY in its URL."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=1,
    )


class SandboxServer:
    """The stand-in in a thread of its own, on a real port of 127.0.0.1.

    `stop()` is an outage: connections are refused. `start()` again brings the same port and the stored sessions back,
    as a restarted server does. What it knows survives in `world`, which belongs to the server's thread: other threads
    look at it through the control routes.
    """

    def __init__(self, config: Config, port: int = 0) -> None:
        self.config = config
        self.world = World(config)
        self.port = port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end. Known once started."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        """False before `start()`, after `stop()`, and after somebody called `/unhealthy`."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Raises OSError when the port is taken, TimeoutError when the server does not come up."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=BACKLOG)
        self.port = listener.getsockname()[1]
        app = create_app(self.config, self.world, on_unhealthy=self._die)
        self._server = uvicorn.Server(uvicorn_config(app))
        self._thread = threading.Thread(target=self._server.run, args=([listener],), name="sandbox", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise TimeoutError("the sandbox did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        """Refuse connections from now on. Open ones are cut within a second."""
        self.leave()
        if self._thread is not None:
            self._thread.join(STOP_TIMEOUT_SECONDS)

    def leave(self) -> None:
        """Begin to stop, and wait for nothing."""
        if self._server is not None:
            self._server.should_exit = True

    def _die(self) -> None:
        if self._server is not None:
            self._server.should_exit = self._server.force_exit = True


@contextmanager
def running_sandbox(config: Config, port: int = 0) -> Iterator[SandboxServer]:
    """A stand-in for the length of a `with`, on whose end nobody waits."""
    server = SandboxServer(config, port)
    server.start()
    try:
        yield server
    finally:
        server.leave()
