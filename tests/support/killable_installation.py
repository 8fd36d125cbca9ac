"""An installation whose database server may be killed without hurting anybody else."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from services.db.actor import Actor, Role, person
from services.db.embedded import EmbeddedPostgres
from services.db.migrate import migrate
from services.errors import DatabaseUnavailable
from services.fleet import commands
from services.fleet import session as fleet_session
from services.fleet.session import Status
from services.messaging import outbox as messaging_outbox
from tests.support.databases import Database
from tests.support.process_state import forget_process_state, point_at_database
from tests.support.processes import Processes, running_processes
from tests.support.waiting import wait_for

FAULT_PROCESSES = ("sandbox", "webhook", "worker")
FAULT_SETTINGS = {"SEND_PACE_SECONDS": "0", "SEND_LEASE_SECONDS": "2", "LOG_LEVEL": "INFO"}


@dataclass
class KillableInstallation:
    """A database server that may be killed, and the processes on it."""

    postgres: EmbeddedPostgres
    database: Database
    processes: Processes

    def kill_postgres(self) -> None:
        """kill -9 of the server and of every process of its own; then up again, as the supervisor brings it up."""
        pid = int((self.postgres.home / "cluster" / "postmaster.pid").read_text().split("\n", 1)[0])
        children = (
            [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] if _linux() else []
        )
        for one in (pid, *children):
            _kill(one)
        self.postgres.restart()

    def new_user(self) -> Actor:
        user_id = uuid4()
        self.database.execute("insert into auth.users (id, email) values (%s, %s)", user_id, f"{user_id}@example.com")
        return person(user_id, Role.USER)


def _linux() -> bool:
    return Path("/proc/self/task").exists()


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


@contextmanager
def open_killable_installation(
    patch: pytest.MonkeyPatch, data_dir: Path, environment: Mapping[str, str]
) -> Iterator[KillableInstallation]:
    """A PostgreSQL of its own with sandbox, receiver and worker; this test process is the console."""
    folder = Path(tempfile.mkdtemp(prefix="plushify-faults-"))
    folder.chmod(0o755)
    binaries = os.environ.get("PLUSHIFY_TEST_PG_BIN")
    with EmbeddedPostgres(folder, Path(binaries) if binaries else None) as postgres:
        point_at_database(patch, postgres.url(), data_dir)
        migrate(postgres.url())
        with running_processes(postgres.url(), data_dir, FAULT_PROCESSES, **environment) as processes:
            for name, value in processes.environment.items():
                patch.setenv(name, value)
            forget_process_state()
            yield KillableInstallation(postgres, Database(postgres.url()), processes)
            forget_process_state()
    shutil.rmtree(folder)


def pair_people(installation: KillableInstallation, count: int) -> list[Actor]:
    """People whose WhatsApp is truly up in the sandbox."""
    people = [installation.new_user() for _ in range(count)]
    for number, actor in enumerate(people):
        commands.connect(actor)
        wait_for(partial(_qr, actor), what="a QR")
        installation.processes.control.scan(f"user_{actor.user_id}", f"55119876500{number:02}")
    for actor in people:
        wait_for(partial(_is_connected, actor), what="a connected session")
    return people


def _qr(actor: Actor) -> bool:
    session = fleet_session.get(actor)
    return session is not None and session.qr is not None


def _is_connected(actor: Actor) -> bool:
    session = fleet_session.get(actor)
    return session is not None and session.status is Status.CONNECTED


def queue_despite_outages(actor: Actor, body: str) -> None:
    """Queue once, however often the database goes away meanwhile: that is what the key is for."""
    deadline = time.monotonic() + 30
    while True:
        try:
            messaging_outbox.queue(actor, "11987654321", body, body)
            return
        except DatabaseUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.1)
