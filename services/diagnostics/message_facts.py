"""What the database knows of one sent message, to be told as its trace."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.fleet.session import Status
from services.messaging.state import State, Wait, WaitReason
from services.platform import heartbeats


@dataclass(frozen=True)
class PendingAck:
    """An acknowledgement that fits no message by its whole id; `lid`: it came with an anonymous code."""

    ack: int
    at: datetime
    lid: bool


@dataclass(frozen=True)
class MessageFacts:
    """The facts of one message (`app.get_message_facts`), nothing of what it carries.

    `ahead` counts the session's queued messages that leave before it; `reconciliations` how often it was looked for in
    its chat. The times are the message's own, but for `now` and `worker_at`, the worker's newest heartbeat.
    """

    id: UUID
    user_id: UUID
    session_name: str
    session_status: Status
    wpp_id: str | None
    wpp_names: tuple[str, ...]
    state: State
    failure: str | None
    phone: str
    address: str | None
    attempts: int
    ahead: int
    reconciliations: int
    pending: tuple[PendingAck, ...]
    waiting_reason: WaitReason | None
    lane_waiting_reason: WaitReason | None
    now: datetime
    worker_at: datetime | None
    created_at: datetime
    updated_at: datetime
    run_at: datetime
    waiting_since: datetime | None
    lane_waiting_since: datetime | None
    asked_at: datetime | None
    claimed_at: datetime | None
    sending_at: datetime | None
    accepted_at: datetime | None
    sent_at: datetime | None
    delivered_at: datetime | None
    read_at: datetime | None
    uncertain_at: datetime | None
    reconcile_at: datetime | None
    reconciled_at: datetime | None
    ended_at: datetime | None

    @property
    def wait(self) -> Wait | None:
        """What it waits for now while it is queued, as its owner's list says it."""
        since = self.waiting_since
        if self.asked_at is not None:
            return Wait(WaitReason.OWNER, since or self.asked_at)
        if self.lane_waiting_reason is not None and self.run_at <= self.now:
            held = max(self.run_at, self.lane_waiting_since or self.run_at)
            return Wait(self.lane_waiting_reason, min(held, since) if since else held)
        return Wait(self.waiting_reason, since or self.run_at) if self.waiting_reason is not None else None

    @property
    def is_connected(self) -> bool:
        """Whether its session is up."""
        return self.session_status is Status.CONNECTED

    @property
    def is_worker_alive(self) -> bool:
        """Whether the process that sends has a fresh heartbeat."""
        return self.worker_at is not None and self.now - self.worker_at < timedelta(seconds=heartbeats.ALIVE_SECONDS)
