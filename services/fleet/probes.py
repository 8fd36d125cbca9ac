"""Asks the servers, and WhatsApp itself, whether sessions are alive.

A session whose last proof is fresh is not asked. A probe asks its server whether the page lives: that costs WhatsApp
nothing and proves nothing about WhatsApp. A question asks WhatsApp itself, as seldom as possible (`proof_schedule`).
Sessions are claimed in the table, so that several workers share one fleet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection

from services import settings
from services.db import queries
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.base import Record
from services.fleet import (
    incidents,
    proof_of_life,
    proof_schedule,
    transitions,
)
from services.fleet.per_server import run_per_server
from services.fleet.proof_of_life import ProbeResult
from services.fleet.proof_schedule import Question

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)

PROBES_PER_ROUND = 200


@dataclass(frozen=True)
class _Probed:
    name: str
    server_url: str
    attempt: datetime | None
    sight: ProbeResult


@dataclass(frozen=True)
class _Answered:
    question: Question
    sight: ProbeResult

    @property
    def server_url(self) -> str:
        return self.question.server_url


def probe_servers(limit: int = PROBES_PER_ROUND) -> int:
    """Ask their servers whether the pages of sessions without fresh evidence live; returns how many were asked."""
    _recover_servers()
    with transaction(SYSTEM) as tx:
        due = tx.execute(_CLAIM_DUE, {"proof": settings.get().health.proof_seconds, "limit": limit}).all()
    seen = run_per_server(_probe_session, due, settings.get().health.probes_per_server)
    if seen:
        _record_probes(seen)
    return len(due)


def _probe_session(row: Record) -> _Probed:
    return read_row(_Probed, row, sight=proof_of_life.ask_server(row.server_url, row.name))


def _record_probes(seen: Sequence[_Probed]) -> None:
    with transaction(SYSTEM) as tx:
        for one in seen:
            if one.sight is ProbeResult.GONE:
                transitions.mark_lost(tx, one.name, one.attempt)
        _record_servers_down(tx, seen)
    log.info("fleet_probed", asked=len(seen), up=sum(one.sight is ProbeResult.ANSWERED for one in seen))


def _record_servers_down(tx: Connection, seen: Sequence[_Probed | _Answered]) -> None:
    """A server is down where nobody who was asked through it got an answer."""
    answering = {one.server_url for one in seen if one.sight is not ProbeResult.UNREACHABLE}
    for server in sorted({one.server_url for one in seen} - answering):
        incidents.open_server_down(tx, server)


def ask_whatsapp() -> int:
    """Ask WhatsApp itself for the sessions whose turn it is, and for suspects; returns how many were asked."""
    seen = run_per_server(_ask, proof_schedule.claim_due(), settings.get().health.probes_per_server)
    if seen:
        with transaction(SYSTEM) as tx:
            proof_of_life.record_answers(tx, [(one.question, one.sight) for one in seen])
            _record_servers_down(tx, seen)
        log.info("whatsapp_asked", asked=len(seen), alive=sum(one.sight is ProbeResult.ALIVE for one in seen))
    return len(seen)


def _ask(asked: Question) -> _Answered:
    return _Answered(asked, proof_of_life.ask_whatsapp(asked))


def _recover_servers() -> None:
    """Any answer about any session shows that a server is back."""
    with transaction(SYSTEM) as tx:
        lost = tx.execute(_LOST_SERVERS).all()
    for row in lost:
        if row.name is None or proof_of_life.ask_server(row.server_url, row.name) is not ProbeResult.UNREACHABLE:
            with transaction(SYSTEM) as tx:
                incidents.end_server_down(tx, row.server_url)


_CLAIM_DUE = _QUERIES["claim_due"]
_LOST_SERVERS = _QUERIES["lost_servers"]
