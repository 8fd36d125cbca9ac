"""LISTEN on one connection of this process, and NOTIFY after a commit.

NOTIFY only hurries. A listener that was away calls back to catch up, and what a process that dies did not notify is
found at the next look.
"""

import contextlib
import functools
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
from psycopg import sql
from sqlalchemy import Connection, text

from services import counters
from services.db.actor import ANONYMOUS, SYSTEM, Actor, ActorKind
from services.db.engine import get_keepalive_conninfo, transaction
from services.errors import DatabaseUnavailable
from services.failure_log import FailureLog

# Long enough to cost nothing, short enough to see a dead socket soon.
POLL_SECONDS = 1.0
RECONNECT_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)


class Listener:
    """Listens on channels in a daemon thread, for as long as the process lives.

    `on_notify(channel, payload)` runs in that thread for each notification; `on_catch_up()` after each (re)connection,
    because whatever was said before it went unheard.
    """

    def __init__(
        self,
        url: str,
        channels: tuple[str, ...],
        on_notify: Callable[[str, str], None],
        on_catch_up: Callable[[], None],
    ) -> None:
        self._conninfo = get_keepalive_conninfo(url)
        self._channels = channels
        self._on_notify = on_notify
        self._on_catch_up = on_catch_up
        self._stopped = threading.Event()
        self.connected = threading.Event()
        self.reconnects = 0
        self._watch = FailureLog("listener")
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> "Listener":
        """Begin to listen; the database may still be away."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End at once, or within two seconds where the database does not answer."""
        self._stopped.set()
        # Only its own thread may use the connection; whoever waits at a socket sees that it is shut.
        with self._lock, contextlib.suppress(OSError, psycopg.OperationalError):  # it may be broken already
            if self._connection is not None:
                with socket.socket(fileno=os.dup(self._connection.fileno())) as waited_at:
                    waited_at.shutdown(socket.SHUT_RDWR)
        self._thread.join(POLL_SECONDS * 2)

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            try:
                self._listen()
                failures = 0
            except psycopg.Error as error:
                if self._stopped.is_set():
                    return
                if self.connected.is_set():
                    failures = 0
                self.connected.clear()
                self.reconnects += 1
                counters.get_counters().reconnects.inc()
                self._watch.failed(error, channels=self._channels)
                self._stopped.wait(RECONNECT_SECONDS[min(failures, len(RECONNECT_SECONDS) - 1)])
                failures += 1
            # The outermost loop of this thread: a fault of a callback must not leave the process deaf for ever.
            except Exception as error:  # noqa: BLE001 (told by the watch)
                self.connected.clear()
                self._watch.failed(error, channels=self._channels)
                self._stopped.wait(RECONNECT_SECONDS[2])

    def _listen(self) -> None:
        with psycopg.connect(self._conninfo, autocommit=True) as connection, self._cut_by_stop(connection):
            for channel in self._channels:
                connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
            self.connected.set()
            self._on_catch_up()
            while not self._stopped.is_set():
                self._watch.worked()
                for note in connection.notifies(timeout=POLL_SECONDS):
                    self._on_notify(note.channel, note.payload)

    @contextlib.contextmanager
    def _cut_by_stop(self, connection: psycopg.Connection) -> Iterator[None]:
        with self._lock:
            self._connection = connection
        try:
            yield
        finally:
            with self._lock:
                self._connection = None


class NotifyBatcher:
    """Notifies for transactions that are committed, for all that are committed meanwhile at once.

    A NOTIFY inside a transaction makes its commit wait for every other such commit; one beside it, which writes
    nothing, costs none of them anything.
    """

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._lock = threading.Lock()
        self._pending: set[tuple[str, str]] = set()
        self._watch = FailureLog("notify")
        # Its thread is waited for when the process ends in order: what was asked for is still notified.
        self._notifier = ThreadPoolExecutor(1, thread_name_prefix="notify")

    def add(self, notes: set[tuple[str, str]]) -> None:
        """Notify soon; `notes` are channels with their payloads."""
        with self._lock:
            idle = not self._pending
            self._pending |= notes
        if idle and notes:
            self._notifier.submit(self._notify_pending)

    def _notify_pending(self) -> None:
        with self._lock:
            notes, self._pending = self._pending, set()
        channels, payloads = zip(*notes, strict=True)
        try:
            with transaction(self._actor) as tx:
                tx.execute(_NOTIFY, {"channels": list(channels), "payloads": list(payloads)})
        except DatabaseUnavailable as error:
            self._watch.failed(error, notes=len(notes))
        else:
            self._watch.worked()


_NOTIFY = text(
    "select pg_notify(c, p) from unnest(cast(:channels as text[]), cast(:payloads as text[])) as note (c, p)"
)


# A channel and a payload.
Notice = tuple[str, str]


@contextlib.contextmanager
def notifying_transaction(actor: Actor) -> Iterator[tuple[Connection, set[Notice]]]:
    """A transaction, and the set of what is to be notified once it is committed: soon, in a thread of this process.

    Messages that move in it notify nobody by themselves: for many that would hold up every other commit. Nothing is
    notified where the block fails.
    """
    notices: set[Notice] = set()
    with transaction(actor, notifies_at_commit=True) as tx:
        yield tx, notices
    _get_batcher(actor.kind is ActorKind.SYSTEM).add(notices)


@functools.cache
def _get_batcher(system: bool) -> NotifyBatcher:
    return NotifyBatcher(SYSTEM if system else ANONYMOUS)
