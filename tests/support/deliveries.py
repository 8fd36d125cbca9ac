"""Messages on their way out: queued by somebody, claimed and sent by the worker."""

from datetime import UTC, datetime
from uuid import UUID

from sandbox.server import SandboxServer
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet.session import Status
from services.messaging import acknowledgements, delivery
from services.messaging import outbox as messaging_outbox
from services.messaging.attempt import deliver
from services.messaging.claims import Outcome
from services.messaging.dispatcher import Claimed
from services.messaging.pace import Pace
from services.messaging.state import Message, State, WaitReason
from tests.support.databases import Database
from tests.support.sandbox_control import SandboxControl
from tests.support.waiting import wait_for

PHONE, DIGITS = "(11) 91234-5678", "5511912345678"
NO_PACE = Pace(0)
SENT = Outcome(State.ACCEPTED, answered=True)
AWAY = Outcome(State.QUEUED, waiting=WaitReason.SERVER)


def queue_texts(actor: Actor, *texts: str, run_at: datetime | None = None) -> None:
    for body in texts:
        messaging_outbox.queue(actor, PHONE, body, body, run_at=run_at)


def claim(limit: int = 10) -> list[Claimed]:
    return delivery.claim_lanes(limit)[0]


def deliver_all() -> None:
    """What the worker does until no lane has its turn."""
    while claimed := claim():
        for one in claimed:
            delivery.finish(one, deliver(one), NO_PACE)


def try_again(database: Database) -> None:
    """The back-off is over."""
    database.execute("update lanes set retry_at = now() where retry_at < 'infinity'")
    deliver_all()


def pass_hours(database: Database, hours: float) -> None:
    """Everything that waits does so for this much longer."""
    for column in ("run_at", "waiting_since", "created_at"):
        database.execute(f"update messages set {column} = {column} - make_interval(secs => %s)", hours * 3600)
    for column in ("waiting_since", "due_at"):
        # A new moment, not an end: what is remembered when a lane stops waiting is another test's subject.
        database.execute(f"update lanes set {column} = {column} - make_interval(secs => %s)", hours * 3600)


def set_status(database: Database, status: Status) -> None:
    database.execute("update whatsapp_sessions set status = %s", status)


def list_states(actor: Actor) -> list[State]:
    return [message.state for message in reversed(messaging_outbox.list_recent(actor))]


def bring_back(server: SandboxServer, control: SandboxControl, database: Database) -> None:
    """The server is back, with its sessions."""
    server.start()
    wait_for(lambda: all(one["status"] == "CONNECTED" for one in control.state()["sessions"]))
    try_again(database)


def list_wait_reasons(actor: Actor) -> list[WaitReason | None]:
    return [
        message.waiting.reason if message.waiting else None for message in reversed(messaging_outbox.list_recent(actor))
    ]


def list_sent_texts(control: SandboxControl, actor: Actor) -> list[str]:
    return [one["body"] for one in control.sent(f"user_{actor.user_id}")]


def get_only_message(actor: Actor) -> Message:
    (message,) = messaging_outbox.list_recent(actor)
    return message


def acknowledge(session_id: UUID, wpp_id: str, ack: int) -> None:
    with transaction(SYSTEM) as tx:
        acknowledgements.acknowledge(tx, session_id, wpp_id, ack, datetime.now(UTC))
