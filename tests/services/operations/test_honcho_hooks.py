"""The private parts of honcho that its adapter uses: still there, and called when they are expected to be."""

from typing import Any

import pytest
from honcho.manager import Manager
from honcho.process import Process

from services.operations.honcho_hooks import HookedManager, HookedProcess, Record
from tests.support.library_parts import assert_has_parts, assert_takes

ADAPTER = ("honcho", "services/operations/honcho_hooks.py")


def test_honcho_still_has_the_parts_that_are_used() -> None:
    parts = ("_process_ctor", "_processes", "_start", "_all_started", "_any_stopped", "_all_stopped")
    assert_has_parts(*ADAPTER, Manager(), (*parts, "events"))
    assert_has_parts(*ADAPTER, Process("true"), ("_send_message",))
    assert_takes(*ADAPTER, Manager._start, "self")
    assert_takes(*ADAPTER, Process._send_message, "self", "data", "type")
    assert_takes(*ADAPTER, Process.run, "self", "events", "ignore_signals")


class _Manager(HookedManager):
    """Notes what its hooks are called with."""

    def __init__(self) -> None:
        super().__init__(_Process)
        self.started = 0
        self.asked: set[str] = set()

    def on_started(self) -> None:
        self.started += 1
        assert all("process" in record for record in self.records().values())

    def has_stopped(self, record: Record) -> bool:
        self.asked |= record.keys()
        return super().has_stopped(record)


class _Process(HookedProcess):
    """Says in its own line what it reports."""

    def report(self, data: Any, kind: str) -> None:
        if kind != "line":
            super().report(f"reports {kind}: {', '.join(data)}\n".encode(), "line")
        super().report(data, kind)


def test_the_hooks_see_a_program_from_its_start_to_its_end(capfd: pytest.CaptureFixture[str]) -> None:
    manager = _Manager()
    manager.add_process("program", "echo hello")
    manager.loop()
    said = capfd.readouterr().out
    assert manager.returncode == 0
    assert manager.started == 1
    assert {"pid", "returncode", "process"} <= manager.asked
    for line in ("reports start: pid", "hello", "reports stop: returncode"):
        assert line in said
