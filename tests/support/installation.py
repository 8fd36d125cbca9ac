"""Whole installations: one that all browser tests of a test process share, others where a module needs its own.

Starting four processes takes as long as a browser test. So the shared one stays up, and each module finds it as if it
had just been started: nobody's rows, no session on the sandbox, no fault switched on.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.db.embedded import EmbeddedPostgres
from tests.support.databases import Database, DatabasePool, get_database_pool
from tests.support.process_state import forget_process_state
from tests.support.processes import ALL_PROCESSES, SANDBOX_MODULE, Processes, running_processes

# Clocks that nobody wants to watch in real time.
FAST_SETTINGS = {"SEND_PACE_SECONDS": "0", "HEALTH_SWEEP_SECONDS": "1", "HEALTH_STEP_SECONDS": "3"}
# Campaigns at any hour of the day, and a pace that one can watch.
FAST_SETTINGS |= {"CAMPAIGN_PACE_SECONDS": "1", "CAMPAIGN_OPENS": "00:00", "CAMPAIGN_CLOSES": "00:00"}
FAST_SETTINGS |= {"CAMPAIGN_WARMUP_DAYS": "0", "CAMPAIGN_COLD_SHARE": "1"}
# The owners' own systems that events are forwarded to are on this machine here.
FAST_SETTINGS |= {"FORWARD_ALLOW_PRIVATE": "true"}
FAST_SETTINGS |= {SANDBOX_MODULE: "tests.support.quick_sandbox"}
# What running processes write about themselves and expect to find again.
PROCESS_TABLES = frozenset(
    {
        ("public", "heartbeats"),
        ("public", "wpp_servers"),
        ("jobs", "procrastinate_workers"),
        ("jobs", "procrastinate_periodic_defers"),
    }
)


@dataclass(frozen=True)
class Installation:
    """One running installation with its database."""

    database: Database
    processes: Processes
    pool: DatabasePool
    names: tuple[str, ...]

    def reset(self) -> None:
        """Start what was stopped and take away what earlier tests left."""
        self.processes.start(*(name for name in self.names if not self.processes.running(name)))
        if "sandbox" in self.names:
            self.processes.control.reset()
        self.pool.empty(self.database.one("select current_database()"), keep=PROCESS_TABLES)


@contextmanager
def open_installation(
    cluster: EmbeddedPostgres, template: str, folder: Path, processes: Sequence[str] = ALL_PROCESSES, **env: str
) -> Iterator[Installation]:
    """An installation for the block; `env` adds to (or replaces) the environment of its processes."""
    pool = get_database_pool(cluster, template)
    name = pool.take()
    database = Database(cluster.url(name))
    try:
        with running_processes(database.url, folder, processes, **env) as started:
            yield Installation(database, started, pool, tuple(processes))
    finally:
        pool.give_back(name)


@contextmanager
def use_settings_of(installation: Installation) -> Iterator[Installation]:
    """For the block, this test process's settings are those of the installation, as if it were one of its processes."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in installation.processes.environment.items():
            patch.setenv(name, value)
        forget_process_state()
        yield installation
        forget_process_state()
