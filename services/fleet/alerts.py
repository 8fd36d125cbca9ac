"""Alerts: posts new incidents to ALERT_WEBHOOK_URL.

One post a round, and each fault of each session at most once in the cooldown. A row's `notified_at` says that the
incident was posted, or that a similar one was posted within the cooldown. What could
not be posted is tried again in the next round.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import text

from services import settings
from services.db import queries
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.tables.base import Record
from services.fleet.incidents import DESCRIPTIONS, Kind, State
from services.platform import alert_webhook

_QUERIES = queries.load(__file__)

# What a chat shows without folding it; the rest is a number.
MAX_LISTED = 10
STATE_NOTES = {
    State.NEEDS_PHONE: " (precisa do celular da pessoa)",
    State.NEEDS_PERSON: " (precisa de alguém da equipe)",
}


def send_alerts() -> int:
    """Post what nobody was told of yet; returns how many incidents were posted."""
    configured = settings.get().alerts
    silent = not configured.webhook_url.get_secret_value()
    with transaction(SYSTEM) as tx:
        tx.execute(_SUPPRESS, {"cooldown": configured.cooldown_minutes * 60, "silent": silent})
        rows = tx.execute(_SELECT_PENDING).all()
    if not rows or not alert_webhook.post(_body(rows)):
        return 0
    with transaction(SYSTEM) as tx:
        tx.execute(_MARK_SENT, {"ids": [row.id for row in rows]})
    return len(rows)


def _body(rows: Sequence[Record]) -> dict[str, Any]:
    lines = [
        f"{DESCRIPTIONS[Kind(row.kind)][0]}: {row.subject}{STATE_NOTES.get(row.state, '')}" for row in rows[:MAX_LISTED]
    ]
    if len(rows) > MAX_LISTED:
        lines.append(f"… e mais {len(rows) - MAX_LISTED}")
    found = [
        {"kind": row.kind, "subject": row.subject, "state": row.state, "detected_at": row.detected_at.isoformat()}
        for row in rows
    ]
    return {"text": "\n".join(lines), "incidents": found}


_SUPPRESS = _QUERIES["suppress"]
_SELECT_PENDING = _QUERIES["select_pending"]

_MARK_SENT = text("update public.incidents set notified_at = clock_timestamp() where id = any(:ids)")
