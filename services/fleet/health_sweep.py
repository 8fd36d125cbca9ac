"""The worker's health rounds over all sessions.

sweep ─▶ probe ─▶ ask WhatsApp ─▶ detect incidents ─▶ update incidents ─▶ heal ─▶ write samples ─▶ send alerts
"""

from sqlalchemy import text

from services import settings
from services.db import queries
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.fleet import (
    alerts,
    incidents,
    offboarding,
    proof_schedule,
)
from services.fleet.healing import heal
from services.fleet.probes import PROBES_PER_ROUND, ask_whatsapp, probe_servers
from services.platform.worker_loop import Periodic

_QUERIES = queries.load(__file__)

SAMPLE_MINUTES = 5
MIN_ROUND_SECONDS = 1.0


def build_rounds() -> Periodic:
    """The rounds of one worker: each `health.sweep_seconds`, and whenever a quiet session's question has its turn.

    To be hurried where a session has just fallen, or come up: then at most one round a second.
    """
    return Periodic(sweep, lambda _took: _seconds_to_next_sweep(), MIN_ROUND_SECONDS)


def _seconds_to_next_sweep() -> float:
    pause = settings.get().health.sweep_seconds
    turn = proof_schedule.next_due_in()
    # Below 0: it had its turn, and nobody was to be asked.
    return min(turn, pause) if turn is not None and turn > 0 else pause


def sweep() -> bool:
    """One round. True where more sessions are due to be asked."""
    offboarding.close_sessions_of_inactive_users()
    asked = probe_servers()
    ask_whatsapp()
    with transaction(SYSTEM) as tx:
        incidents.detect(tx)
        incidents.update_states(tx)
    if settings.get().health.heal:
        heal()
    write_sample()
    alerts.send_alerts()
    return asked >= PROBES_PER_ROUND


def write_sample() -> None:
    """Write the fleet's figures down, once each SAMPLE_MINUTES."""
    with transaction(SYSTEM) as tx:
        tx.execute(_INSERT_SAMPLE, {"minutes": SAMPLE_MINUTES, "proof": settings.get().health.max_proof_age_seconds})


def purge_expired() -> None:
    """Drop figures, usual hours and ended incidents that nobody looks at any more."""
    with transaction(SYSTEM) as tx:
        for statement in _DELETE_EXPIRED:
            tx.execute(text(statement), {"days": settings.get().retention.history_days})
        proof_schedule.purge_expired(tx)


_INSERT_SAMPLE = _QUERIES["insert_sample"]

_DELETE_EXPIRED = (
    "delete from public.fleet_samples where sampled_at < now() - interval '31 days'",
    "delete from public.session_hours where hour < now() - interval '15 days'",
    "delete from public.incidents where ended_at < now() - make_interval(days => :days)",
)
