"""Purges sessions that stayed disconnected, whose data are also on a WPPConnect server.

A session is claimed, and no start is allowed for as long. The server is asked and told to delete its data. Only
then the row goes, if nothing has moved it meanwhile. A server that is down postpones its sessions; a server that is
no longer configured does not keep a row waiting. A session whose user has messages younger than the history's
retention is kept with them: its data on the server go once (`cleared_at`), its pairing data are blanked, and its
row stays.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func, text

from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.rows import read_row
from services.errors import ConfigurationError
from services.fleet import server_registry
from services.operations.retention import ExpiredKind, Run, add_to_counts, get_history_retention, get_retention_periods
from services.wppconnect.errors import WppError, WppOutcomeUnknown
from services.wppconnect.shared import get_client

log = structlog.get_logger(__name__)
# Longer than asking for the state, closing and clearing may take at worst (8 s + 18 s + 18 s, see client.Timeouts).
CLAIM_LEASE = timedelta(seconds=60)
# A server that leaves this many clearings without an answer is left alone for the rest of the run.
MAX_UNKNOWN_OUTCOMES = 3


@dataclass
class SkippedInRun:
    """What a run leaves alone after it failed there: for this run only, the next one tries again."""

    run_id: int
    sessions: set[UUID] = field(default_factory=set)
    servers: set[str] = field(default_factory=set)
    unknown: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class ClaimedSession:
    """A session held for cleaning; `since` and `claim` are the fence of its end."""

    id: UUID
    name: str
    server_url: str | None
    cleared: bool
    since: datetime
    claim: datetime


def claim_session(trouble: SkippedInRun) -> ClaimedSession | None:
    """Claims one session that has expired and that this run does not skip; None where there is none."""
    kept = get_retention_periods()[ExpiredKind.SESSIONS], get_history_retention()
    with transaction(SYSTEM) as tx:
        row = tx.execute(
            text("select * from app.claim_expired_session(:keep, :history, :lease, :passed_over, :down)"),
            {
                "keep": kept[0],
                "history": kept[1],
                "lease": CLAIM_LEASE,
                "passed_over": list(trouble.sessions),
                "down": list(trouble.servers),
            },
        ).one_or_none()
    return read_row(ClaimedSession, row) if row else None


def purge_session(unfinished: Run, claimed: ClaimedSession, trouble: SkippedInRun) -> None:
    """Deletes a claimed session on its server and here, or notes in `trouble` that this run skips it."""
    if claimed.server_url is not None and not claimed.cleared and _is_server_configured(claimed):
        try:
            if not _clear_on_server(claimed.server_url, claimed.name):
                log.info("cleanup_found_alive", session=claimed.name)
                trouble.sessions.add(claimed.id)
                _release(claimed, ask=True)
                return
        except (WppError, ConfigurationError) as error:
            log.warning("cleanup_postponed", session=claimed.name, error=type(error).__name__)
            _postpone(claimed, claimed.server_url, error, trouble)
            return
    with transaction(SYSTEM) as tx:
        if tx.execute(_FINISH_SESSION, _finish_params(claimed)).scalar_one() is not None:
            add_to_counts(tx, unfinished, ExpiredKind.SESSIONS, 1)
        else:
            trouble.sessions.add(claimed.id)


def _is_server_configured(claimed: ClaimedSession) -> bool:
    """Whether there is anybody to ask: an address that is configured no longer is never called."""
    if server_registry.is_configured(claimed.server_url):
        return True
    log.warning("cleanup_without_server", session=claimed.name)
    return False


def _clear_on_server(server_url: str, name: str) -> bool:
    """Delete what the server keeps of a session; False where it says that the session is up: that is to be asked about,
    not deleted."""
    state = get_client().status_session(server_url, name).status
    # It goes on saying CONNECTED of one whose browser has died, which nobody would ever see the end of.
    if state == "CONNECTED" and get_client().check_connection(server_url, name):
        return False
    if state != "CLOSED":
        get_client().close_session(server_url, name)
    get_client().clear_session_data(server_url, name)
    return True


def _postpone(claimed: ClaimedSession, server_url: str, error: Exception, trouble: SkippedInRun) -> None:
    trouble.sessions.add(claimed.id)
    if isinstance(error, WppOutcomeUnknown):
        # The order may still be carried out there: no start may begin until the lease ends.
        trouble.unknown[server_url] += 1
        if trouble.unknown[server_url] >= MAX_UNKNOWN_OUTCOMES:
            trouble.servers.add(server_url)
        return
    trouble.servers.add(server_url)
    _release(claimed, ask=False)


def _release(claimed: ClaimedSession, *, ask: bool) -> None:
    with transaction(SYSTEM) as tx:
        tx.execute(func.app.release_expired_session(claimed.id, claimed.claim, ask).select())


_FINISH_SESSION = text("select app.finish_expired_session(:id, :since, :claim, :keep, :history)")


def _finish_params(claimed: ClaimedSession) -> dict[str, Any]:
    return {
        "id": claimed.id,
        "since": claimed.since,
        "claim": claimed.claim,
        "keep": get_retention_periods()[ExpiredKind.SESSIONS],
        "history": get_history_retention(),
    }
