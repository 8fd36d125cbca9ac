"""Whole installations that tests live in: one for all walks of a test process, others where a module needs its own.

Starting four processes takes as long as a walk. So the shared one stays up, and each module that moves in finds it as
if it had just been started: nobody's rows, no session on the stand-in server, no fault switched on.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.db.embedded import EmbeddedPostgres
from tests.conftest import Database, forget_process_state
from tests.support.databases import DatabasePool, get_database_pool
from tests.support.installation import ALL_PROCESSES, Installation, running_installation

# Clocks that nobody wants to watch in real time.
QUICK = {"SEND_PACE_SECONDS": "0", "HEALTH_SWEEP_SECONDS": "1", "HEALTH_STEP_SECONDS": "3"}
# Campaigns at any hour of the day, and a pace that one can watch.
QUICK |= {"CAMPAIGN_PACE_SECONDS": "1", "CAMPAIGN_OPENS": "00:00", "CAMPAIGN_CLOSES": "00:00"}
QUICK |= {"CAMPAIGN_WARMUP_DAYS": "0", "CAMPAIGN_COLD_SHARE": "1"}
# The owners' own systems that events are forwarded to are on this machine here.
QUICK |= {"FORWARD_ALLOW_PRIVATE": "true"}
# What running processes have written about themselves, and expect to find again.
THEIRS = frozenset(
    {
        ("public", "heartbeats"),
        ("public", "wpp_servers"),
        ("jobs", "procrastinate_workers"),
        ("jobs", "procrastinate_periodic_defers"),
    }
)


@dataclass(frozen=True)
class House:
    """One running installation with its database."""

    database: Database
    processes: Installation
    pool: DatabasePool
    names: tuple[str, ...]

    def tidy(self) -> None:
        """Start what was stopped and take away what the last tests left."""
        self.processes.start(*(name for name in self.names if not self.processes.running(name)))
        if "sandbox" in self.names:
            self.processes.control.reset()
        self.pool.empty(self.database.one("select current_database()"), keep=THEIRS)


@contextmanager
def open_house(
    cluster: EmbeddedPostgres, template: str, folder: Path, processes: Sequence[str] = ALL_PROCESSES, **env: str
) -> Iterator[House]:
    """A house of one's own; `env` adds to (or replaces) the environment of its processes."""
    pool = get_database_pool(cluster, template)
    name = pool.take()
    database = Database(cluster.url(name))
    try:
        with running_installation(database.url, folder, processes, **env) as started:
            yield House(database, started, pool, tuple(processes))
    finally:
        pool.give_back(name)


@contextmanager
def lived_in(house: House) -> Iterator[House]:
    """For the block, this test process's settings are those of the house, as if it were one of its processes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in house.processes.environment.items():
            patch.setenv(name, value)
        forget_process_state()
        yield house
        forget_process_state()
