"""Heals sessions with an open incident, step by step, the cheapest step first (`LADDERS`).

Each step is written to the session's timeline and verified by evidence. Healing is limited by the length of the ladder,
by steps a day, and by how many sessions of one server may be healed at once, so that a restarted server does not get
all its sessions back at the same time. Where a whole server has lost WhatsApp, restarts do not help: only one session
at a time is tried.
"""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import structlog
from sqlalchemy import text

from services import settings
from services.db import queries
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.rows import read_rows
from services.errors import ServiceError
from services.fleet import (
    commands,
    incidents,
    proof_of_life,
    proof_schedule,
    timeline,
)
from services.fleet.incidents import Kind, State
from services.fleet.per_server import run_per_server
from services.fleet.proof_of_life import ProbeResult
from services.wppconnect.errors import WppUnreachable

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)
HEALS_PER_ROUND = 20
# A step's calls may take 45 s at worst (close, status, start: see client.Timeouts); then another worker takes over.
STEP_LEASE_SECONDS = 90
# Whoever needs more than this in a day is not healed by it.
MAX_STEPS_PER_DAY = 10


class Step(StrEnum):
    """One rung of a ladder."""

    ASK = "ask"  # WhatsApp once more: one unanswered question proves little
    START = "start"  # start it; the phone stays paired
    RESTART = "restart"  # close it and start it; the phone stays paired


LADDERS: dict[Kind, tuple[Step, ...]] = {
    Kind.ZOMBIE: (Step.ASK, Step.RESTART, Step.RESTART),
    Kind.DROPPED: (Step.START, Step.RESTART, Step.RESTART),
    Kind.SILENT: (Step.RESTART,),
    Kind.STUCK: (Step.RESTART, Step.RESTART),
}


@dataclass(frozen=True)
class _DueIncident:
    """An incident whose next step is due."""

    id: int
    kind: Kind
    session_id: UUID
    user_id: UUID
    server_url: str
    steps: int
    steps_today: int

    @property
    def name(self) -> str:
        return f"user_{self.user_id}"

    @property
    def step(self) -> Step | None:
        ladder = LADDERS[self.kind]
        return ladder[self.steps] if self.steps < len(ladder) and self.steps_today < MAX_STEPS_PER_DAY else None


def heal(limit: int = HEALS_PER_ROUND) -> int:
    """Take the next step of what is due; returns how many were taken."""
    configured = settings.get().health
    with transaction(SYSTEM) as tx:
        claimed = tx.execute(
            _CLAIM_INCIDENTS,
            {
                "limit": limit,
                "lease": STEP_LEASE_SECONDS,
                "step": configured.step_seconds,
                "cap": configured.heals_per_server,
            },
        )
        patients = read_rows(_DueIncident, claimed)
    run_per_server(_run_step, patients, configured.heals_per_server)
    return len(patients)


def _run_step(patient: _DueIncident) -> None:
    step = patient.step
    if step is None:
        _give_up(patient)
        return
    try:
        worked = _take_step(step, patient)
    except WppUnreachable:
        # The server, not the session: no step is used up by it, and nothing is tried before it answers again.
        with transaction(SYSTEM) as tx:
            incidents.open_server_down(tx, patient.server_url)
        return
    except ServiceError as error:
        log.warning("healing_step_failed", session=patient.name, step=step, error=type(error).__name__)
        worked = False
    _record_step(patient, step, patient.steps + 1, worked=worked)


def _take_step(step: Step, patient: _DueIncident) -> bool:
    if step is Step.ASK:
        asked = proof_schedule.claim_session(patient.session_id)
        if asked is None:
            return False
        sight = proof_of_life.ask_whatsapp(asked)
        if sight is ProbeResult.UNREACHABLE:
            raise WppUnreachable(f"{patient.name}: its server does not answer")
        with transaction(SYSTEM) as tx:
            proof_of_life.record_answers(tx, [(asked, sight)])
        return sight is ProbeResult.ALIVE
    act = commands.connect if step is Step.START else commands.reconnect
    act(SYSTEM, patient.user_id)
    return True


def _record_step(patient: _DueIncident, step: Step, steps: int, *, worked: bool) -> None:
    """Whether the step helped is seen from evidence once its time is over; asking again needs none."""
    wait = 1.0 if step is Step.ASK else settings.get().health.step_seconds
    with transaction(SYSTEM) as tx:
        tx.execute(_RECORD_STEP, {"id": patient.id, "steps": steps, "wait": wait, "acted": step is not Step.ASK})
        timeline.add_entry(
            tx,
            patient.session_id,
            patient.user_id,
            timeline.Kind.HEALTH,
            f"step.{step}",
            "ok" if worked else "failed",
            incident=patient.kind,
            number=patient.steps + 1,
        )


def _give_up(patient: _DueIncident) -> None:
    with transaction(SYSTEM) as tx:
        tx.execute(_MARK_NEEDS_PERSON, {"id": patient.id})
        what = f"{State.NEEDS_PERSON}.{patient.kind}"
        timeline.add_entry(tx, patient.session_id, patient.user_id, timeline.Kind.HEALTH, what, "failed")


_CLAIM_INCIDENTS = _QUERIES["claim_incidents"]
_RECORD_STEP = _QUERIES["record_step"]

_MARK_NEEDS_PERSON = text(
    "update public.incidents set state = 'needs_person', notified_at = null where id = :id and state = 'open'"
)
