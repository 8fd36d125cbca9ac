"""Who did what (`audit_log`, append-only) and what looked like an attack (`security_events`).

Both are written inside the caller's own transaction: an act and its record are committed together or not at all. The
policies of migration 0002 let a person write only in their own name and the system only in nobody's.
"""

import json
from typing import Any

from sqlalchemy import Connection, text

from services import log
from services.db.actor import Actor

_RECORD = text(
    "insert into public.audit_log (actor_id, actor_role, action, subject, detail, request_id)"
    " values (:actor_id, :actor_role, :action, :subject, cast(:detail as jsonb), :request_id)"
)
_SECURITY_EVENT = text(
    "insert into public.security_events (kind, subject, ip, detail, request_id, actor_id)"
    " values (:kind, :subject, :ip, cast(:detail as jsonb), :request_id, auth.uid())"
)


def record(tx: Connection, actor: Actor, action: str, subject: str | None, **detail: Any) -> None:
    """Write that `actor` did `action` (as `thing.verb`) to `subject` (an id). Secrets in `detail` are masked."""
    tx.execute(
        _RECORD,
        {
            "actor_id": actor.user_id,
            "actor_role": str(actor.role or actor.kind),
            "action": action,
            "subject": subject,
            "detail": _json(detail),
            "request_id": log.request_id(),
        },
    )


def security_event(tx: Connection, kind: str, subject: str | None, ip: str | None, **detail: Any) -> None:
    """Write a security event; `subject` is an id, never what somebody typed. Secrets in `detail` are masked.

    For people and the system; what happens before sign-in is written by the database's own sign-in functions.
    """
    tx.execute(
        _SECURITY_EVENT,
        {"kind": kind, "subject": subject, "ip": ip, "detail": _json(detail), "request_id": log.request_id()},
    )


def _json(detail: dict[str, Any]) -> str:
    # PostgreSQL's jsonb refuses the NUL that JSON allows.
    return json.dumps(log.masked(detail), default=str, ensure_ascii=False).replace("\\u0000", "")
