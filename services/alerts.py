"""Tells people what was found, at ALERT_WEBHOOK_URL: one post a round, each fault of each session once in a while.

A row's `told_at` says that it was posted, or that its like was so short a time ago that posting it again would only
train people to look away. What could not be posted stays untold and is tried again in the next round.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from sqlalchemy import text

from services import outgoing, settings
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.models import Record
from services.findings import WORDS, Kind, State

log = structlog.get_logger(__name__)

POST_SECONDS = 5.0
# What a chat shows without folding it; the rest is a number.
LISTED = 10
NEEDS = {State.NEEDS_PHONE: " (precisa do celular da pessoa)", State.NEEDS_PERSON: " (precisa de alguém da equipe)"}


def tell() -> int:
    """Post what nobody was told of yet; returns how many findings were posted."""
    configured = settings.get()
    silent = not configured.alert_webhook_url.get_secret_value()
    with transaction(SYSTEM) as tx:
        tx.execute(_PASSED_OVER, {"cooldown": configured.alert_cooldown_minutes * 60, "silent": silent})
        rows = tx.execute(_UNTOLD).all()
    if not rows or not post(_body(rows)):
        return 0
    with transaction(SYSTEM) as tx:
        tx.execute(_TOLD, {"ids": [row.id for row in rows]})
    return len(rows)


def post(body: Mapping[str, Any]) -> bool:
    """Post `body` as JSON to ALERT_WEBHOOK_URL; chat tools show its `text`. False where that did not work."""
    address = settings.get().alert_webhook_url.get_secret_value()
    content = json.dumps(body, ensure_ascii=False).encode()
    # Whoever set the address may reach their own networks with it.
    answer = outgoing.post(address, content, {"Content-Type": "application/json"}, private=True, seconds=POST_SECONDS)
    if not answer.well:
        # Without the address, which holds a token.
        log.warning("alert_not_posted", status=answer.status, error=answer.failure)
    return answer.well


def _body(rows: Sequence[Record]) -> dict[str, Any]:
    lines = [f"{WORDS[Kind(row.kind)][0]}: {row.subject}{NEEDS.get(row.state, '')}" for row in rows[:LISTED]]
    if len(rows) > LISTED:
        lines.append(f"… e mais {len(rows) - LISTED}")
    found = [
        {"kind": row.kind, "subject": row.subject, "state": row.state, "found_at": row.found_at.isoformat()}
        for row in rows
    ]
    return {"text": "\n".join(lines), "findings": found}


# The server's address is nobody's business: its sessions' owners are named by their session, a server by its number.
_PASSED_OVER = text("""
update public.findings f set told_at = clock_timestamp()
 where f.told_at is null and (:silent or f.ended_at is not null or exists (select from public.findings o
   where o.kind = f.kind and o.session_id is not distinct from f.session_id
     and o.server_url is not distinct from f.server_url
     and o.told_at > clock_timestamp() - make_interval(secs => :cooldown)))
""")

_UNTOLD = text("""
select f.id, f.kind, f.state, f.found_at,
       coalesce('user_' || f.user_id, 'servidor com ' || (select count(*) from public.whatsapp_sessions s
         where s.server_url = f.server_url) || ' sessões') as subject
  from public.findings f where f.told_at is null order by f.id limit 200
""")

_TOLD = text("update public.findings set told_at = clock_timestamp() where id = any(:ids)")
