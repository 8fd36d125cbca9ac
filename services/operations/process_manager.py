"""Starts programs, restarts those that crash, and stops all of them together."""

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from services.operations.honcho_hooks import HookedManager, HookedProcess, Record

# A program that crashes this often in this long will not get better by itself.
MAX_CRASHES = 5
CRASH_WINDOW_SECONDS = 30.0
RESTART_SECONDS = 0.5
# The worker finishes the jobs under way (20 s at most); what does not stop by then is killed.
STOP_SECONDS = 25.0


class ProcessManager(HookedManager):
    """honcho's manager, which starts, prints and waits; each program's keeper restarts it, and stops it at the end."""

    def __init__(self) -> None:
        # Nothing is ever written: the pipe's end tells the keepers to stop. Our own death, kill -9 too, is that end.
        self._told, self._tell = multiprocessing.Pipe(duplex=False)
        super().__init__(partial(RestartedProcess, told=self._told, tell=self._tell))
        self._pid = os.getpid()
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
            keepers = [record["process"] for record in self.records().values() if "process" in record]
            while any(keeper.is_alive() for keeper in keepers):
                with contextlib.suppress(queue.Empty):  # unread lines would keep their keeper waiting
                    self.events.get(timeout=RESTART_SECONDS)

    def on_started(self) -> None:
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
        given_up = [name for name, record in self.records().items() if self.has_stopped(record)]
        if given_up:
            self.fault = f"{given_up[0]} crashed {MAX_CRASHES} times in a row; its last lines above say why"
        self._tell.close()
        self.kill()

    def kill(self) -> None:
        """Kill the programs whose keeper was killed: the keepers of the others see to them."""
        for record in self.records().values():
            if "pid" in record and "returncode" not in record and not record["process"].is_alive():
                _signal_program(record["pid"], signal.SIGKILL)

    def has_stopped(self, record: Record) -> bool:
        """A program has also stopped whose keeper was killed."""
        return super().has_stopped(record) or ("process" in record and not record["process"].is_alive())


class RestartedProcess(HookedProcess):
    """A program's keeper: starts it again when it ends unasked, until it crashes too often, and stops it when told."""

    def __init__(self, *args: Any, told: Connection, tell: Connection, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told = told
        self._tell = tell
        self._manager = os.getpid()
        self._program: int | None = None
        self._stop: dict[str, Any] = {}

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:  # noqa: ARG002
        """Runs in a process of its own, which honcho starts; reports lines, starts and the final stop to `events`."""
        # A terminal's signals come here too, but the manager decides. Not SIG_IGN, which the programs would inherit.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self._tell.close()  # the manager's own is to be the last one
        threading.Thread(target=self._stop_when_told, daemon=True).start()
        ends: deque[float] = deque(maxlen=MAX_CRASHES)
        while True:
            super().run(events)
            ends.append(time.monotonic())
            if self._told.poll(RESTART_SECONDS):
                break
            if len(ends) == MAX_CRASHES and ends[-1] - ends[0] < CRASH_WINDOW_SECONDS:
                self.report(f"{self.name} crashed {MAX_CRASHES} times in a row: giving up\n".encode(), "line")
                break
            self.report(f"{self.name} ended (rc={self._stop['returncode']}): starting it again\n".encode(), "line")
        super().report(self._stop, "stop")
        if os.getppid() != self._manager:
            events.cancel_join_thread()  # nobody reads any more

    def report(self, data: Any, kind: str) -> None:
        if kind == "stop":  # one of those ends everything: kept for the end
            self._stop = data
            return
        if kind == "start":
            self._program = data["pid"]
        super().report(data, kind)
        if kind == "start" and self._told.poll():
            self._signal(signal.SIGTERM)  # told between two starts

    def _stop_when_told(self) -> None:
        self._told.poll(None)
        self._signal(signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._program is not None:
            _signal_program(self._program, number)


def _signal_program(pid: int, number: int) -> None:
    """To the program and what it has started: honcho makes it a process group's leader."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a zombie
        os.killpg(pid, number)
