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

from honcho.manager import Manager
from honcho.process import Process

# A program that crashes this often in this long will not get better by itself.
MAX_CRASHES = 5
CRASH_WINDOW_SECONDS = 30.0
RESTART_SECONDS = 0.5
# The worker finishes the jobs under way (20 s at most); what does not stop by then is killed.
STOP_SECONDS = 25.0


class ProcessManager(Manager):  # type: ignore[misc]
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
            self.fault = f"{given_up[0]} crashed {MAX_CRASHES} times in a row; its last lines above say why"
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
        ends: deque[float] = deque(maxlen=MAX_CRASHES)
        while True:
            super().run(events)
            ends.append(time.monotonic())
            if self._told.poll(RESTART_SECONDS):
                break
            if len(ends) == MAX_CRASHES and ends[-1] - ends[0] < CRASH_WINDOW_SECONDS:
                self._send_message(f"{self.name} crashed {MAX_CRASHES} times in a row: giving up\n".encode())
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
