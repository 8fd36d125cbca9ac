"""Heartbeats of the processes, and which parts of the installation are alive, from evidence in the tables."""

import os
import socket
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.tables.inbound import events
from services.db.tables.platform import heartbeats
from services.errors import DatabaseUnavailable

BEAT_SECONDS = 5.0
# Three missed beats: one may be late, two may be a pause of the machine.
ALIVE_SECONDS = 3 * BEAT_SECONDS
# Events older than this while a worker beats mean that processing does not keep up.
MAX_LAG_SECONDS = 60.0


@dataclass(frozen=True)
class ComponentStatus:
    """One part: `ok`, and in `detail` what a person should know; no secrets."""

    name: str
    ok: bool
    detail: str


def instance_name() -> str:
    """What this process is called among its likes."""
    return f"{socket.gethostname()}:{os.getpid()}"


def beat(process: str) -> None:
    """Say that this process is alive."""
    with transaction(SYSTEM) as tx:
        row = insert(heartbeats).values(process=process, instance=instance_name(), beat_at=func.now())
        tx.execute(row.on_conflict_do_update(index_elements=["process", "instance"], set_={"beat_at": func.now()}))


def list_components() -> list[ComponentStatus]:
    """The state of database, worker and inbox; never raises for a part that is down."""
    try:
        with transaction(SYSTEM) as tx:
            silence = tx.execute(
                select(func.extract("epoch", func.now() - func.max(heartbeats.c.beat_at))).where(
                    heartbeats.c.process == "worker"
                )
            ).scalar_one()
            lag = tx.execute(
                select(func.extract("epoch", func.now() - events.c.received_at))
                .where(events.c.verdict == "received")
                .order_by(events.c.id)
                .limit(1)
            ).scalar_one_or_none()
    except DatabaseUnavailable as error:
        return [ComponentStatus("database", False, error.detail)]
    return [
        ComponentStatus("database", True, "answers"),
        ComponentStatus("worker", silence is not None and silence < ALIVE_SECONDS, _describe_silence(silence)),
        ComponentStatus("inbox", (lag or 0) < MAX_LAG_SECONDS, f"oldest waiting event: {float(lag or 0):.1f} s"),
    ]


def _describe_silence(silence: float | None) -> str:
    return "never seen" if silence is None else f"last heartbeat {float(silence):.1f} s ago"
