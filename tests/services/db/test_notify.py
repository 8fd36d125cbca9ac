"""The listener on a real PostgreSQL: it hears, it comes back when it was cut off, and it says that it was deaf."""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from services.db.embedded import EmbeddedPostgres
from services.db.notify import Listener
from tests.support.databases import Database
from tests.support.waiting import wait_for


@dataclass
class Ear:
    """What a listener reported."""

    heard: list[tuple[str, str]] = field(default_factory=list)
    caught_up: int = 0
    listener: Listener | None = None

    def hear(self, channel: str, payload: str) -> None:
        self.heard.append((channel, payload))
        if payload == "break":
            raise RuntimeError("a fault of the callback's own")

    def catch_up(self) -> None:
        self.caught_up += 1

    def start(self, url: str, *channels: str) -> "Ear":
        self.listener = Listener(url, channels, self.hear, self.catch_up).start()
        return self

    def wait_until_connected(self) -> None:
        assert self.listener is not None
        assert self.listener.connected.wait(15)

    def wait_for_catch_up(self, times: int) -> None:
        wait_for(lambda: self.caught_up == times, 30, f"catching up for the {times}. time")

    def wait_for_word(self, payload: str) -> None:
        wait_for(lambda: ("live", payload) in self.heard, what=f"hearing {payload}")


@pytest.fixture
def ear(database: Database) -> Iterator[Ear]:
    """A listener on the test's database, to two channels."""
    made = Ear().start(database.url, "live", "inbox")
    made.wait_until_connected()
    yield made
    assert made.listener is not None
    made.listener.stop()


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "listener"]


def test_it_hears_each_channel_and_nothing_else(database: Database, ear: Ear) -> None:
    database.execute("select pg_notify('other', 'x')")
    database.execute("select pg_notify('live', 'session:1')")
    database.execute("select pg_notify('inbox', '')")
    wait_for(lambda: len(ear.heard) == 2)
    assert ear.heard == [("live", "session:1"), ("inbox", "")]


def test_it_hears_at_once(database: Database, ear: Ear) -> None:
    before = time.monotonic()
    database.execute("notify live, 'x'")
    wait_for(lambda: ear.heard)
    assert time.monotonic() - before < 0.7  # it does not wait for its own poll, which takes a second


def test_it_catches_up_when_it_begins(ear: Ear) -> None:
    wait_for(lambda: ear.caught_up == 1)


def cut_off(database: Database) -> None:
    """Cut every connection of the database but this one."""
    killed = database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
        " and pid <> pg_backend_pid() and backend_type = 'client backend'"
    )
    assert killed


def test_it_comes_back_and_catches_up_when_it_was_cut_off(database: Database, ear: Ear) -> None:
    wait_for(lambda: ear.caught_up == 1)
    for times in (1, 2):
        cut_off(database)
        ear.wait_for_catch_up(times + 1)
        assert ear.listener is not None
        assert ear.listener.reconnects == times
        database.execute("select pg_notify('live', %s)", f"after {times}")
        ear.wait_for_word(f"after {times}")
    assert len(threads()) == 1


def test_it_outlives_a_fault_of_its_callback(database: Database, ear: Ear) -> None:
    """A listener that died in silence would leave the process deaf for ever."""
    wait_for(lambda: ear.caught_up == 1)
    database.execute("notify live, 'break'")
    ear.wait_for_catch_up(2)
    database.execute("notify live, 'after'")
    ear.wait_for_word("after")


def test_it_ends_when_told_to(database: Database, ear: Ear) -> None:
    assert ear.listener is not None
    before = time.monotonic()
    ear.listener.stop()
    assert time.monotonic() - before < 0.7  # it does not wait for its own poll, which takes a second
    assert threads() == []
    assert ear.listener.reconnects == 0
    left = "select count(*) from pg_stat_activity where datname = current_database() and query like 'listen%%'"
    wait_for(lambda: database.one(left.replace("%%", "%")) == 0)
    database.execute("notify live, 'late'")
    assert ear.heard == []


def test_it_ends_while_the_database_is_away(tmp_path: Path) -> None:
    ear = Ear().start(f"postgresql://nobody@/none?host={tmp_path}", "live")
    assert ear.listener is not None
    listener = ear.listener
    wait_for(lambda: listener.reconnects >= 2)
    assert not listener.connected.is_set()
    listener.stop()
    assert threads() == []
    assert ear.caught_up == 0


def test_it_waits_for_a_database_that_comes_later() -> None:
    binaries = os.environ.get("PLUSHIFY_TEST_PG_BIN")
    folder = Path(tempfile.mkdtemp(prefix="plushify-notify-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder, Path(binaries) if binaries else None)
    ear = Ear().start(server.url(), "live")
    assert ear.listener is not None
    listener = ear.listener
    wait_for(lambda: listener.reconnects >= 1)
    try:
        for times in (1, 2):
            server.start()
            ear.wait_for_catch_up(times)
            with psycopg.connect(server.url(), autocommit=True) as owner:
                owner.execute(f"notify live, 'start {times}'")
            ear.wait_for_word(f"start {times}")
            server.stop()
            wait_for(lambda: not listener.connected.is_set())
    finally:
        listener.stop()
        server.stop()
        shutil.rmtree(folder)
