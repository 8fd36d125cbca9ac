"""Runs of the clean-up, and what is past its retention."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.db.actor import SYSTEM, Actor
from services.operations import retention
from services.operations.retention import ExpiredKind, Run
from services.operations.retention_worker import RetentionWorker
from tests.support.databases import Database
from tests.support.sessions import connected

# Nobody listens there.
DEAD_SERVER = "http://127.0.0.1:9"


def run_cleanup(cleaner: RetentionWorker, *kinds: ExpiredKind) -> Run:
    """A whole run, as the worker carries it out."""
    asked = retention.request_run(SYSTEM, kinds or None)
    while cleaner.step():
        pass
    return retention.get_run(SYSTEM, asked.id)


def ago(**age: float) -> datetime:
    return datetime.now(UTC) - timedelta(**age)


def insert_ended_session(
    database: Database, actor: Actor, at: datetime, server_url: str | None = None, *, status: str = "desconectado"
) -> UUID:
    """A session that ended at `at`, with nothing to say where its server is."""
    session_id = connected(database, actor, server_url or "")
    database.execute(
        "update whatsapp_sessions set status = %s, updated_at = %s, server_url = %s where id = %s",
        status, at, server_url, session_id,
    )  # fmt: skip
    return session_id


def count_expired(actor: Actor = SYSTEM) -> dict[ExpiredKind, int]:
    return {one.kind: one.count for one in retention.preview_run(actor) if one.count}


def insert_message(database: Database, actor: Actor, session_id: UUID, at: datetime, state: str = "read") -> None:
    database.execute(
        "insert into messages (session_id, user_id, direction, state, phone, created_at)"
        " values (%s, %s, 'out', %s, '5511987654321', %s)",
        session_id, actor.user_id, state, at,
    )  # fmt: skip
