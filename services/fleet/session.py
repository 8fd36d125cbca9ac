"""One user's WhatsApp session: its statuses and failures, how it is read, and how its row is read.

    desconectado ──connect──▶ pareando ──inChat / isLogged / CONNECTED──▶ conectado
         ▲                       │                                           │
         └──failure, time out────┴────closed, logged out, proved dead────────┘

`transitions` changes the status when the server reports something, `checks` asks the server, `starts` brings one start
to the server, and `commands` has what a person does.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    Select,
    func,
    or_,
    select,
)

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.base import Record
from services.db.tables.fleet import sessions
from services.errors import (
    Conflict,
)
from services.fleet.access import require_owner
from services.fleet.timing import START_LIFETIME
from services.security import break_glass


class Status(StrEnum):
    """Stored as the overview names them."""

    DISCONNECTED = "desconectado"  # nothing runs, or what ran has ended
    PAIRING = "pareando"  # a start was asked for; waiting for a scan or a code
    CONNECTED = "conectado"  # the server reported inChat / isLogged, or CONNECTED when it was asked


class Proof(StrEnum):
    """How we last knew that a session is truly up."""

    WEBHOOK = "webhook"  # the server posted inChat or isLogged: it got into WhatsApp at that moment
    QUESTION = "question"  # WhatsApp answered a question that must leave the browser (`services.fleet.proof_of_life`)
    ACK = "ack"  # WhatsApp acknowledged a message
    MESSAGE = "message"  # a message of somebody else came in
    EVENT = "event"  # a call, or somebody else's reaction or vote, came in


# Endings after which nobody expects the session back: its owner or the phone ended it. None is our own disconnect.
FINAL_FAILURES = ("phone_logged_out", "logged_out")
# States in which a start is under way, so that another start-session changes nothing there.
RUNNING_STATES = {"INITIALIZING", "QRCODE", "PHONECODE"}
CODE_STATES = {"QRCODE", "PHONECODE"}


@dataclass(frozen=True)
class Qr:
    """A QR that may be shown until `expires_at`; `urlcode` is the text to draw; `number` counts from 1 in this attempt.

    A server of the overview's dialect sends no text but only the picture, `png` (base64).
    """

    urlcode: str | None
    png: str | None
    received_at: datetime
    expires_at: datetime
    number: int


@dataclass(frozen=True)
class Session:
    """One user's session as its owner sees it. `status` is ours; `reported_state` is what the server says.

    `waits_until`: the start waits until then at the latest, for a browser that still holds the profile.
    `server_holds`: its server still has something that a disconnect would end.
    """

    id: UUID
    user_id: UUID
    name: str
    status: Status
    qr: Qr | None
    phone_code: str | None
    phone_code_at: datetime | None
    pairing_phone: str | None
    pairing_started_at: datetime | None
    scanned_at: datetime | None
    reported_state: str | None
    reported_at: datetime | None
    last_proof_at: datetime | None
    last_proof_kind: str | None
    connected_at: datetime | None
    phone_number: str | None
    device_name: str | None
    failure: str | None
    updated_at: datetime
    waits_until: datetime | None
    server_holds: bool


@dataclass(frozen=True)
class Target:
    """A session on its server, as a call needs it. `attempt` is the start that the call belongs to; `phone` the number
    of a pairing by code; see the comments of whatsapp_sessions for the times.
    """

    id: UUID
    name: str
    server_url: str
    status: Status
    attempt: datetime | None
    scanned: bool
    phone: str | None
    start_at: datetime | None
    start_asked_at: datetime | None
    start_phone: str | None
    profile_available_at: datetime | None
    settling_since: datetime | None
    ended_on_purpose_at: datetime | None
    failure: str | None
    codes_shown: bool


def get(actor: Actor, user_id: UUID | None = None) -> Session | None:
    """The session of `user_id` (default: the actor's own), or None where they never connected.

    For staff the QR and the code stay empty, but while they have a break-glass grant for them
    (`services.security.break_glass`).

    Raises: Forbidden where it is somebody else's and the actor is no staff.
    """
    owner = require_owner(actor, user_id)
    with transaction(actor) as tx:
        row = tx.execute(_select_session(owner)).one_or_none()
        reveal = owner == actor.user_id or (actor.is_staff and break_glass.is_granted(tx, owner, break_glass.Scope.QR))
    return _build_session(row, reveal=reveal) if row else None


def server_holds(status: Status, reported_state: str | None, phone_number: str | None, failure: str | None) -> bool:
    """Whether a session's server still has something of it that a disconnect would end: it runs, or is still paired."""
    if status is not Status.DISCONNECTED or reported_state == "CONNECTED" or failure == "not_ended":
        return True
    return phone_number is not None and failure is not None and failure not in FINAL_FAILURES


def get_ids(tx: Connection, names: Collection[str]) -> dict[str, UUID]:
    """The rows of session names, of those that there are."""
    found = tx.execute(select(sessions.c.session_id, sessions.c.id).where(sessions.c.session_id.in_(names)))
    return {row.session_id: row.id for row in found.all()}


TARGET_COLUMNS = (
    sessions.c.id,
    sessions.c.session_id.label("name"),
    # A row without a server is nobody's configured server.
    func.coalesce(sessions.c.server_url, "").label("server_url"),
    sessions.c.status,
    sessions.c.pairing_started_at.label("attempt"),
    sessions.c.scanned_at.is_not(None).label("scanned"),
    sessions.c.pairing_phone.label("phone"),
    sessions.c.start_at,
    sessions.c.start_asked_at,
    sessions.c.start_phone,
    sessions.c.profile_available_at,
    sessions.c.settling_since,
    sessions.c.ended_on_purpose_at,
    sessions.c.failure,
    or_(sessions.c.qr_count > 0, sessions.c.phone_code.is_not(None)).label("codes_shown"),
)
_QR_COLUMNS = (
    sessions.c.qr_urlcode.label("urlcode"),
    sessions.c.qr_code.label("png"),
    sessions.c.qr_received_at.label("received_at"),
    sessions.c.qr_expires_at.label("expires_at"),
    sessions.c.qr_count.label("number"),
)
_SESSION_COLUMNS = (
    sessions.c.id,
    sessions.c.user_id,
    sessions.c.session_id.label("name"),
    sessions.c.status,
    *_QR_COLUMNS,
    sessions.c.phone_code,
    sessions.c.phone_code_at,
    sessions.c.pairing_phone,
    sessions.c.pairing_started_at,
    sessions.c.scanned_at,
    sessions.c.start_at,
    sessions.c.start_asked_at,
    sessions.c.profile_available_at,
    sessions.c.reported_state,
    sessions.c.reported_at,
    sessions.c.last_proof_at,
    sessions.c.last_proof_kind,
    sessions.c.connected_at,
    sessions.c.phone_number,
    sessions.c.device_name,
    sessions.c.failure,
    sessions.c.updated_at,
)


def _select_session(owner: UUID) -> Select[Any]:
    return select(*_SESSION_COLUMNS).where(sessions.c.user_id == owner)


def get_existing(actor: Actor, owner: UUID) -> Session:
    """The session of `owner`, which the caller knows to exist.

    Raises: Forbidden where it is somebody else's and the actor is no staff; Conflict where it is gone.
    """
    session = get(actor, owner)
    if session is None:
        raise Conflict(f"session of {owner} is gone")
    return session


def read_target(actor: Actor, owner: UUID) -> Target | None:
    """Reads the session of `owner` as a call to its server needs it; None where there is none."""
    with transaction(actor) as tx:
        row = tx.execute(select(*TARGET_COLUMNS).where(sessions.c.user_id == owner)).one_or_none()
    return read_row(Target, row) if row else None


def _build_session(row: Record, *, reveal: bool) -> Session:
    shown = reveal and row.expires_at is not None and row.expires_at > datetime.now(UTC)
    return read_row(
        Session,
        row,
        qr=read_row(Qr, row) if shown else None,
        phone_code=row.phone_code if reveal else None,
        pairing_phone=row.pairing_phone if reveal else None,
        waits_until=_waits_until(row),
        server_holds=server_holds(Status(row.status), row.reported_state, row.phone_number, row.failure),
    )


def _waits_until(row: Record) -> datetime | None:
    if row.start_at is None:
        return None
    started = row.start_asked_at + START_LIFETIME if row.start_asked_at else None
    until: datetime | None = row.profile_available_at or started
    return until if until is not None and until > datetime.now(UTC) else None
