"""A sandbox server whose sessions are all up, in a process of its own as in life."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from urllib.parse import urlsplit

from sandbox.server import SandboxServer
from sandbox.state import Config, Session

# Carries out what the measuring process says, until it says "end".
Listen = Callable[[SandboxServer, Connection], None]


@contextlib.contextmanager
def serving(url: str, secret: str, sessions: dict[str, str], listen: Listen | None = None) -> Iterator[Connection]:
    """The server at `url` with `sessions`, each name with its phone; yields the pipe to its process."""
    process = multiprocessing.get_context("spawn")
    ours, theirs = process.Pipe()
    port = urlsplit(url).port
    server = process.Process(target=_serve, args=(theirs, port, secret, sessions, listen or _wait), daemon=True)
    server.start()
    assert ours.recv() == "ready"
    try:
        yield ours
    finally:
        ours.send("end")
        server.join(10)


def _serve(pipe: Connection, port: int, secret: str, sessions: dict[str, str], listen: Listen) -> None:
    server = SandboxServer(Config(secret=secret), port)
    server.world.sessions = {name: Session.up(name, phone) for name, phone in sessions.items()}
    server.start()
    pipe.send("ready")
    listen(server, pipe)
    server.stop()


def _wait(_server: SandboxServer, pipe: Connection) -> None:
    pipe.recv()
