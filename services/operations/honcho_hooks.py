"""honcho's manager and process, with the places under names of ours where `process_manager` does things differently.

honcho 2.0.0, in which this was read, can only stop everything when one program ends, and offers no public way to change
that. So this uses private parts of it: `_process_ctor`, `_processes`, `_start`, `_all_started`, `_any_stopped` and
`_all_stopped` of its `Manager`, `_send_message` of its `Process`. tests/services/operations/test_honcho_hooks.py fails
where a version has them no more.
"""

from collections.abc import Callable
from typing import Any

from honcho.manager import Manager
from honcho.process import Process

# What honcho's manager knows of one program: `pid` once it has started, `returncode` once it has stopped, and in
# `process` the process of ours that runs its `Process.run`.
Record = dict[str, Any]


class HookedManager(Manager):  # type: ignore[misc]
    """honcho's manager, which starts, prints and waits."""

    def __init__(self, build_process: Callable[..., Process]) -> None:
        """`build_process` is called for each program as honcho's `Process` would be."""
        super().__init__()
        self._process_ctor = build_process

    def on_started(self) -> None:
        """Called once every program's process is started."""

    def has_stopped(self, record: Record) -> bool:
        """Whether that program has stopped for good; once one has, everything is stopped."""
        return "returncode" in record

    def records(self) -> dict[str, Record]:
        """The record of each program, by its name."""
        known: dict[str, Record] = self._processes
        return known

    def _start(self) -> None:
        super()._start()
        self.on_started()

    def _all_started(self) -> bool:
        return all("pid" in record or self.has_stopped(record) for record in self.records().values())

    def _any_stopped(self) -> bool:
        return any(map(self.has_stopped, self.records().values()))

    def _all_stopped(self) -> bool:
        return all(map(self.has_stopped, self.records().values()))


class HookedProcess(Process):  # type: ignore[misc]
    """honcho's process, which runs one program and reports what becomes of it."""

    def report(self, data: Any, kind: str) -> None:
        """Tell the manager: a `line` (bytes), a `start` (with `pid`) or the `stop` (with `returncode`)."""
        super()._send_message(data, kind)

    def _send_message(self, data: Any, type: str = "line") -> None:
        self.report(data, type)
