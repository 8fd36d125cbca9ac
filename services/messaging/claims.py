"""A message that one worker holds, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from services.messaging.state import State, WaitReason


@dataclass(frozen=True)
class Claimed:
    """A message whose lane one worker holds until `leased_until`. `attempt` fences its outcome: a later claim makes
    this one's void.

    `sending` says that it was committed as such with the claim, because its `address` was known; else the number is
    asked about first. `on_whatsapp` is False where WhatsApp is known not to have it.
    """

    id: UUID
    session_id: UUID
    user_id: UUID
    session_name: str
    server_url: str
    phone: str
    attempt: int
    leased_until: datetime
    sending: bool
    on_whatsapp: bool | None
    address: str | None
    kind: str
    body: str = field(repr=False)
    media_sha256: bytes | None
    mimetype: str | None
    filename: str | None = field(repr=False)
    detail: Mapping[str, Any] = field(repr=False)
    quoted_wpp_id: str | None
    request_id: str | None


@dataclass(frozen=True)
class Outcome:
    """What became of one delivery. `retry` is true only where it is certain that nothing left.

    `waiting` holds up the whole lane until what it names is back; with `later` only this message is put off.
    `answered`: the server and the session did their part, so that nothing need wait for them.
    """

    state: Literal[State.QUEUED, State.ACCEPTED, State.FAILED, State.UNCERTAIN]
    failure: str | None = None
    wpp_id: str | None = None
    address: str | None = None
    ack: int = 0
    waiting: WaitReason | None = None
    later: timedelta | None = None
    answered: bool = False

    @property
    def retry(self) -> bool:
        return self.state is State.QUEUED


Ended = tuple[Claimed, Outcome | None]
