"""Writes who did what (`audit_log`, verified by `audit_chain`), and what looked like an attack (`security_events`).

Both are written inside the caller's transaction: an action and its record are committed together or not at all. The
policies let a person write only in their own name, and the system only without a name. The triggers let nobody change
what is written.
"""

import json
from typing import Any, Literal

from sqlalchemy import Connection, text

from services import log
from services.db.actor import Actor
from services.db.engine import transaction

_INSERT_ACTION = text(
    "insert into public.audit_log (actor_id, actor_role, action, subject, detail, request_id)"
    " values (:actor_id, :actor_role, :action, :subject, cast(:detail as jsonb), :request_id)"
)
_INSERT_SECURITY_EVENT = text(
    "insert into public.security_events (kind, subject, ip, detail, request_id, actor_id)"
    " values (:kind, :subject, :ip, cast(:detail as jsonb), :request_id, auth.uid())"
)
# Once per kind, subject, person and minute: a unique index says so.
_INSERT_REFUSAL = text(f"{_INSERT_SECURITY_EVENT.text} on conflict do nothing")


def record(tx: Connection, actor: Actor, action: str, subject: str | None, **detail: Any) -> None:
    """Write that `actor` did `action` (as `thing.verb`) to `subject` (an id). Secrets in `detail` are masked.

    The last thing in a transaction: from here to its end every other record waits for it.
    """
    tx.execute(
        _INSERT_ACTION,
        {
            "actor_id": actor.user_id,
            "actor_role": str(actor.role or actor.kind),
            "action": action,
            "subject": subject,
            "detail": _to_json(detail),
            "request_id": log.get_request_id(),
        },
    )


def record_security_event(tx: Connection, kind: str, subject: str | None, ip: str | None, **detail: Any) -> None:
    """Write a security event; `subject` is an id, never what somebody typed. Secrets in `detail` are masked.

    For people and the system; what happens before sign-in is written by the database's own sign-in functions.
    """
    tx.execute(
        _INSERT_SECURITY_EVENT,
        {"kind": kind, "subject": subject, "ip": ip, "detail": _to_json(detail), "request_id": log.get_request_id()},
    )


def record_refusal(
    actor: Actor, kind: Literal["page_refused", "cross_tenant"], subject: str, ip: str | None = None, **detail: Any
) -> None:
    """Write, in a transaction of its own, that somebody signed in was told no; once per subject and minute."""
    values = {
        "kind": kind,
        "subject": subject,
        "ip": ip,
        "detail": _to_json(detail),
        "request_id": log.get_request_id(),
    }
    with transaction(actor) as tx:
        tx.execute(_INSERT_REFUSAL, values)


def _to_json(detail: dict[str, Any]) -> str:
    # PostgreSQL's jsonb refuses the NUL that JSON allows.
    return json.dumps(log.mask_values(detail), default=str, ensure_ascii=False).replace("\\u0000", "")
