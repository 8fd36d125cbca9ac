"""What one stored event changes: a handler for each kind of event, each run in a savepoint.

An event that fails changes nothing. It is tried again, then kept with the places of its traceback.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import InterfaceError, OperationalError

from services.db.tables.base import Record
from services.fleet import transitions, webhook_secrets
from services.fleet.session import Proof, get_ids
from services.inbound import annotations, automations, effects, ingest
from services.inbound.inline_files import parse_body
from services.messaging import acknowledgements
from services.wppconnect import event_parsing
from services.wppconnect.events import Ack, Annotation, InboundMessage, PhoneCode, QrCode, SessionClosed, StatusFind

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 3

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class EventResult:
    """What became of one event. `error` holds the places of its traceback; with it, `received` means: tried again."""

    id: int
    verdict: Literal["received", "handled", "unsupported", "failed"]
    error: str | None = None


def handle(tx: Connection, row: Record) -> EventResult:
    """Move what one event is evidence for, in a savepoint of its own; an event that fails moves nothing."""
    with structlog.contextvars.bound_contextvars(request_id=row.request_id.hex, event=row.id):
        try:
            with tx.begin_nested():
                return EventBatch(tx, [row]).handle()[0]
        except (OperationalError, InterfaceError):
            raise
        # The outermost loop of one event: whatever is wrong with it must not stop the others.
        except Exception as error:
            log.exception("event_failed", kind=row.kind, session=row.session)
            again = row.attempts + 1 < MAX_ATTEMPTS
            return EventResult(row.id, "received" if again else "failed", _traceback_places(error))


class EventBatch:
    """Events that are handled in one savepoint. What they share is asked for, or written, once for all of them."""

    def __init__(self, tx: Connection, rows: Sequence[Record]) -> None:
        self._tx = tx
        self._rows = rows
        self._sessions = get_ids(tx, {row.session for row in rows if row.session})
        self._rules: dict[UUID, list[automations.Rule]] = {}
        self._used: set[str] = set()
        self._proofs: dict[str, tuple[datetime, Proof]] = {}

    def handle(self) -> list[EventResult]:
        """Move what the events are evidence for, in their order.

        Raises: whatever is wrong with one of them.
        """
        results = []
        for row in self._rows:
            with structlog.contextvars.bound_contextvars(request_id=row.request_id.hex, event=row.id):
                results.append(EventResult(row.id, "handled" if self._apply(row) else "unsupported"))
        for name in sorted(self._used):
            webhook_secrets.mark_secret_used(self._tx, name)
        for name, (at, proof) in sorted(self._proofs.items()):
            transitions.record_proof(self._tx, name, proof, at)
        return results

    def _apply(self, row: Record) -> bool:
        """Move what the event is evidence for; False where it is kept unhandled."""
        event = event_parsing.parse_event(parse_body(row.body))
        handler = self.HANDLERS.get(type(event))
        if row.session is None or handler is None:
            return False
        if row.current_secret:
            self._used.add(row.session)
        return handler(self, row, event)

    def _prove(self, row: Record, proof: Proof) -> None:
        known = self._proofs.get(row.session)
        if known is None or known[0] < row.received_at:
            self._proofs[row.session] = (row.received_at, proof)

    def _active_rules(self, user_id: UUID) -> list[automations.Rule]:
        if user_id not in self._rules:
            self._rules[user_id] = automations.list_active_rules(self._tx, user_id)
        return self._rules[user_id]

    def _on_qr(self, row: Record, event: QrCode) -> bool:
        if row.current_secret:
            transitions.show_qr(self._tx, row.session, event.urlcode, event.png_base64, row.received_at)
        return True

    def _on_phone_code(self, row: Record, event: PhoneCode) -> bool:
        if row.current_secret:
            transitions.show_phone_code(self._tx, row.session, event.code, row.received_at)
        return True

    def _on_status(self, row: Record, event: StatusFind) -> bool:
        transitions.apply_report(self._tx, row.session, event.status, row.received_at, current=row.current_secret)
        return True

    def _on_closed(self, row: Record, event: SessionClosed) -> bool:
        transitions.apply_report(self._tx, row.session, event.kind, row.received_at, current=row.current_secret)
        return True

    def _on_ack(self, row: Record, event: Ack) -> bool:
        session_id = self._sessions.get(row.session)
        if session_id is None:
            return False
        acknowledgements.acknowledge(self._tx, session_id, event.message_id, event.ack, row.received_at)
        if event.ack >= 1:
            self._prove(row, Proof.ACK)
            if event.participant is not None:
                annotations.store_receipt(
                    self._tx, session_id, event.message_id, event.participant, event.ack, row.received_at
                )
        return True

    def _on_message(self, row: Record, event: InboundMessage) -> bool:
        """A message becomes part of a conversation; what somebody else sent just now proves that its session lives."""
        session_id = self._sessions.get(row.session)
        if session_id is None:
            return False
        # The page itself posts what is typed or sent through it, and at a start what it had stored as unread.
        if not event.from_me and row.kind != "unreadmessages":
            self._prove(row, Proof.EVENT if event.type == "call" else Proof.MESSAGE)
        self._follow(ingest.ingest_message(self._tx, session_id, event, row.received_at, event_id=row.id))
        return True

    def _follow(self, taken: ingest.IngestedMessage | None) -> None:
        if taken is not None:
            effects.apply_effects(self._tx, taken, self._active_rules(taken.user_id))

    def _on_mark(self, row: Record, event: Annotation) -> bool:
        session_id = self._sessions.get(row.session)
        # One's own reaction is posted by the page before WhatsApp has it, and a deletion may be one's own.
        if session_id is not None and event.kind in ("reaction", "vote") and event.who != "me":
            self._prove(row, Proof.EVENT)
        if session_id is None:
            return False
        self._follow(ingest.ingest_annotation(self._tx, session_id, event, row.received_at))
        return True

    HANDLERS: Mapping[type[Any], Callable[["EventBatch", Record, Any], bool]] = {
        QrCode: _on_qr,
        PhoneCode: _on_phone_code,
        StatusFind: _on_status,
        SessionClosed: _on_closed,
        Ack: _on_ack,
        InboundMessage: _on_message,
        Annotation: _on_mark,
    }


def _traceback_places(error: Exception) -> str:
    """Our own frames and the error's class. Not its message: a body, a QR or a text may stand in one."""
    frames = (frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(ROOT)))
    places = [f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno} in {frame.name}" for frame in frames]
    return "\n".join([*places, type(error).__name__])
