"""The worker's health rounds over all sessions.

sweep ─▶ probe ─▶ ask WhatsApp ─▶ detect incidents ─▶ update incidents ─▶ heal ─▶ write samples ─▶ send alerts
"""

import time

from sqlalchemy import text

from services import settings
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

SAMPLE_MINUTES = 5
MIN_ROUND_SECONDS = 1.0


class Sweeper:
    """The rounds of one worker: each `health_sweep_seconds`, and whenever a quiet session's question has its turn."""

    def __init__(self) -> None:
        self._next = self._last = 0.0

    def hurry(self) -> None:
        """Make the next round due: a session has just fallen, or come up. At most one round a second."""
        self._next = min(self._next, self._last + MIN_ROUND_SECONDS)

    def step(self) -> bool:
        """One round where it is due. True while more sessions are due than a round takes."""
        if time.monotonic() < self._next:
            return False
        self._last = time.monotonic()
        more = sweep()
        if not more:
            pause = settings.get().health_sweep_seconds
            turn = proof_schedule.next_due_in()
            # Below 0: it had its turn, and nobody was to be asked.
            self._next = time.monotonic() + (min(turn, pause) if turn is not None and turn > 0 else pause)
        return more

    def idle_seconds(self) -> float:
        """Seconds until the next round."""
        return max(self._next - time.monotonic(), 0.0)


def sweep() -> bool:
    """One round. True where more sessions are due to be asked."""
    offboarding.close_sessions_of_inactive_users()
    asked = probe_servers()
    ask_whatsapp()
    with transaction(SYSTEM) as tx:
        incidents.detect(tx)
        incidents.update_states(tx)
    if settings.get().health_heal:
        heal()
    write_sample()
    alerts.send_alerts()
    return asked >= PROBES_PER_ROUND


def write_sample() -> None:
    """Write the fleet's figures down, once each SAMPLE_MINUTES."""
    with transaction(SYSTEM) as tx:
        tx.execute(_INSERT_SAMPLE, {"minutes": SAMPLE_MINUTES, "proof": settings.get().proof_seconds})


def purge_expired() -> None:
    """Drop figures, usual hours and ended incidents that nobody looks at any more."""
    with transaction(SYSTEM) as tx:
        for statement in _DELETE_EXPIRED:
            tx.execute(text(statement), {"days": settings.get().cleanup_history_days})
        proof_schedule.purge_expired(tx)


_INSERT_SAMPLE = text("""
insert into public.fleet_samples (sampled_at, figures)
select date_bin(make_interval(mins => :minutes), now(), 'epoch'), jsonb_build_object(
         'conectado', count(*) filter (where status = 'conectado'),
         'pareando', count(*) filter (where status = 'pareando'),
         'desconectado', count(*) filter (where status = 'desconectado'),
         'unproven', count(*) filter (where status = 'conectado' and coalesce(
             last_proof_at < clock_timestamp() - make_interval(secs => :proof), true)),
         'silent', (select count(*) from public.incidents where kind = 'silent' and ended_at is null))
  from public.whatsapp_sessions
having not exists (select from public.fleet_samples
  where sampled_at = date_bin(make_interval(mins => :minutes), now(), 'epoch'))
on conflict do nothing
""")

_DELETE_EXPIRED = (
    "delete from public.fleet_samples where sampled_at < now() - interval '31 days'",
    "delete from public.session_hours where hour < now() - interval '15 days'",
    "delete from public.incidents where ended_at < now() - make_interval(days => :days)",
)
