"""The worker's rounds over the fleet: ask who has not proved to live, heal by a ladder, write the figures down.

    sweep ─▶ probe ─▶ question ─▶ find ─▶ settle ─▶ heal ─▶ tell (alerts)

Evidence first: a session whose last proof is fresh is not asked. A probe asks its server whether the page lives, which
costs WhatsApp nothing and proves nothing of it; a question asks WhatsApp itself, as seldom as it serves (`questions`).
Who is asked is claimed in the table, so that several workers share one fleet, and asked concurrently, with a cap for
each server. Healing climbs a ladder, cheapest step first; each step is written to the session's timeline, verified by
evidence, and capped: by the ladder's length, by the day, and by how many sessions of one server may be healed at once,
so that a restarted server gets its sessions back in waves. Where a whole server is out of WhatsApp's reach restarts
help nobody: one session at a time is tried.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from services import alerts, findings, questions, sessions, settings, timeline, users
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.models import Record
from services.errors import ServiceError, WppUnreachable
from services.findings import Kind, State
from services.questions import Question, Sight

log = structlog.get_logger(__name__)

PROBES_A_ROUND = 200
HEALS_A_ROUND = 20
# A step's calls may take 45 s at worst (close, status, start: see client.Timeouts); then another worker takes over.
STEP_LEASE_SECONDS = 90
# Whoever needs more than this in a day is not healed by it.
STEPS_A_DAY = 10
SAMPLE_MINUTES = 5
HURRIED_SECONDS = 1.0

T = TypeVar("T")
R = TypeVar("R")


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
class _Probed:
    name: str
    server_url: str
    attempt: datetime | None
    sight: Sight


@dataclass(frozen=True)
class _Answered:
    question: Question
    sight: Sight

    @property
    def server_url(self) -> str:
        return self.question.server_url


@dataclass(frozen=True)
class _Patient:
    """A finding whose next step is due."""

    id: int
    kind: Kind
    session_id: UUID
    user_id: UUID
    name: str
    server_url: str
    steps: int
    steps_today: int

    @property
    def step(self) -> Step | None:
        ladder = LADDERS[self.kind]
        return ladder[self.steps] if self.steps < len(ladder) and self.steps_today < STEPS_A_DAY else None


class Sweeper:
    """The rounds of one worker: each `health_sweep_seconds`, and whenever a quiet session's question has its turn."""

    def __init__(self) -> None:
        self._next = self._last = 0.0

    def hurry(self) -> None:
        """Make the next round due: a session has just fallen, or come up. At most one round a second."""
        self._next = min(self._next, self._last + HURRIED_SECONDS)

    def step(self) -> bool:
        """One round where it is due. True while more sessions are due than a round takes."""
        if time.monotonic() < self._next:
            return False
        self._last = time.monotonic()
        more = sweep()
        if not more:
            pause = settings.get().health_sweep_seconds
            turn = questions.next_due_in()
            # Below 0: it had its turn, and nobody was to be asked.
            self._next = time.monotonic() + (min(turn, pause) if turn is not None and turn > 0 else pause)
        return more

    def idle_seconds(self) -> float:
        """Seconds until the next round."""
        return max(self._next - time.monotonic(), 0.0)


def sweep() -> bool:
    """One round. True where more sessions are due to be asked."""
    users.close_sessions_of_inactive()
    asked = probe()
    question()
    with transaction(SYSTEM) as tx:
        findings.find(tx)
        findings.settle(tx)
    if settings.get().health_heal:
        heal()
    sample()
    alerts.tell()
    return asked >= PROBES_A_ROUND


# --- asking -----------------------------------------------------------------------------------------------------------


def probe(limit: int = PROBES_A_ROUND) -> int:
    """Ask their servers whether the pages of sessions without fresh evidence live; returns how many were asked."""
    _greet_lost_servers()
    with transaction(SYSTEM) as tx:
        due = tx.execute(_DUE, {"proof": settings.get().health_proof_seconds, "limit": limit}).all()
    seen = _by_server(_probe, due, settings.get().health_probes_per_server)
    if seen:
        _record(seen)
    return len(due)


def _probe(row: Record) -> _Probed:
    sight = questions.server_says(row.server_url, row.session_id)
    return _Probed(row.session_id, row.server_url, row.pairing_started_at, sight)


def _record(seen: Sequence[_Probed]) -> None:
    with transaction(SYSTEM) as tx:
        for one in seen:
            if one.sight is Sight.GONE:
                sessions.lose(tx, one.name, one.attempt)
        _note_servers(tx, seen)
    log.info("fleet_probed", asked=len(seen), up=sum(one.sight is Sight.ANSWERED for one in seen))


def _note_servers(tx: Connection, seen: Sequence[_Probed | _Answered]) -> None:
    """A server is down where nobody who was asked through it got an answer."""
    answering = {one.server_url for one in seen if one.sight is not Sight.UNREACHABLE}
    for server in sorted({one.server_url for one in seen} - answering):
        findings.server_down(tx, server)


def question() -> int:
    """Ask WhatsApp itself for the sessions whose turn it is, and for suspects; returns how many were asked."""
    seen = _by_server(_put, questions.due(), settings.get().health_probes_per_server)
    if seen:
        with transaction(SYSTEM) as tx:
            questions.record(tx, [(one.question, one.sight) for one in seen])
            _note_servers(tx, seen)
        log.info("whatsapp_asked", asked=len(seen), alive=sum(one.sight is Sight.ALIVE for one in seen))
    return len(seen)


def _put(asked: Question) -> _Answered:
    return _Answered(asked, questions.put(asked))


def _greet_lost_servers() -> None:
    """Any answer about any session shows that a server is back."""
    with transaction(SYSTEM) as tx:
        lost = tx.execute(_LOST_SERVERS).all()
    for row in lost:
        if row.name is None or questions.server_says(row.server_url, row.name) is not Sight.UNREACHABLE:
            with transaction(SYSTEM) as tx:
                findings.server_up(tx, row.server_url)


# --- healing ----------------------------------------------------------------------------------------------------------


def heal(limit: int = HEALS_A_ROUND) -> int:
    """Take the next step of what is due; returns how many were taken."""
    configured = settings.get()
    with transaction(SYSTEM) as tx:
        rows = tx.execute(
            _CLAIMED,
            {
                "limit": limit,
                "lease": STEP_LEASE_SECONDS,
                "step": configured.health_step_seconds,
                "cap": configured.health_heals_per_server,
            },
        ).all()
    patients = [_patient(row) for row in rows]
    _by_server(_treat, patients, configured.health_heals_per_server)
    return len(patients)


def _treat(patient: _Patient) -> None:
    step = patient.step
    if step is None:
        _give_up(patient)
        return
    try:
        worked = _take(step, patient)
    except WppUnreachable:
        # The server, not the session: no step is used up by it, and nothing is tried before it answers again.
        with transaction(SYSTEM) as tx:
            findings.server_down(tx, patient.server_url)
        return
    except ServiceError as error:
        log.warning("healing_step_failed", session=patient.name, step=step, error=type(error).__name__)
        worked = False
    _finish(patient, step, patient.steps + 1, worked=worked)


def _take(step: Step, patient: _Patient) -> bool:
    if step is Step.ASK:
        asked = questions.about(patient.session_id)
        if asked is None:
            return False
        sight = questions.put(asked)
        if sight is Sight.UNREACHABLE:
            raise WppUnreachable(f"{patient.name}: its server does not answer")
        with transaction(SYSTEM) as tx:
            questions.record(tx, [(asked, sight)])
        return sight is Sight.ALIVE
    act = sessions.connect if step is Step.START else sessions.reconnect
    act(SYSTEM, patient.user_id)
    return True


def _finish(patient: _Patient, step: Step, steps: int, *, worked: bool) -> None:
    """Whether the step helped is seen from evidence once its time is over; asking again needs none."""
    wait = 1.0 if step is Step.ASK else settings.get().health_step_seconds
    with transaction(SYSTEM) as tx:
        tx.execute(_STEPPED, {"id": patient.id, "steps": steps, "wait": wait, "acted": step is not Step.ASK})
        timeline.note(
            tx,
            patient.session_id,
            patient.user_id,
            timeline.Kind.HEALTH,
            f"step.{step}",
            "ok" if worked else "failed",
            finding=patient.kind,
            number=patient.steps + 1,
        )


def _give_up(patient: _Patient) -> None:
    with transaction(SYSTEM) as tx:
        tx.execute(_GIVEN_UP, {"id": patient.id})
        what = f"{State.NEEDS_PERSON}.{patient.kind}"
        timeline.note(tx, patient.session_id, patient.user_id, timeline.Kind.HEALTH, what, "failed")


def _patient(row: Record) -> _Patient:
    return _Patient(
        row.id,
        Kind(row.kind),
        row.session_id,
        row.user_id,
        f"user_{row.user_id}",
        row.server_url,
        row.steps,
        row.steps_today,
    )


def _by_server(work: Callable[[T], R], items: Sequence[T], cap: int) -> list[R]:
    """`work` on each of `items` (which have a `server_url`), at most `cap` of one server at once."""
    grouped: defaultdict[str, list[T]] = defaultdict(list)
    for item in items:
        grouped[item.server_url].append(item)  # type: ignore[attr-defined]
    with ExitStack() as stack:
        futures = []
        for mine in grouped.values():
            pool = stack.enter_context(ThreadPoolExecutor(min(cap, len(mine)), thread_name_prefix="health"))
            futures += [pool.submit(work, item) for item in mine]
        return [future.result() for future in futures]


# --- the figures over time --------------------------------------------------------------------------------------------


def sample() -> None:
    """Write the fleet's figures down, once each SAMPLE_MINUTES."""
    with transaction(SYSTEM) as tx:
        tx.execute(_SAMPLE, {"minutes": SAMPLE_MINUTES, "proof": settings.get().proof_seconds})


def forget_old() -> None:
    """Drop figures, usual hours and ended findings that nobody looks at any more."""
    with transaction(SYSTEM) as tx:
        for statement in _FORGOTTEN:
            tx.execute(text(statement), {"days": settings.get().cleanup_history_days})
        questions.forget_old(tx)


# --- statements -------------------------------------------------------------------------------------------------------

_DUE = text("""
update public.whatsapp_sessions set probed_at = clock_timestamp() where id in (
  select s.id from public.whatsapp_sessions s
   where s.status = 'conectado'
     and (greatest(s.last_proof_at, s.probed_at) is null
          or greatest(s.last_proof_at, s.probed_at) < clock_timestamp() - make_interval(secs => :proof))
     and not exists (select from public.findings f where f.ended_at is null and f.session_id is null
           and f.server_url = s.server_url)
   order by greatest(s.last_proof_at, s.probed_at) nulls first limit :limit for update skip locked)
returning id, session_id, server_url, pairing_started_at
""")

_LOST_SERVERS = text("""
select f.server_url,
       (select s.session_id from public.whatsapp_sessions s where s.server_url = f.server_url limit 1) as name
  from public.findings f where f.kind = 'server_down' and f.ended_at is null
""")

# The claim is repeated outside, because a second worker may have seen the same rows before the first one took them.
# Out of reach is a server with three dead sessions beside which nothing has proved itself since.
_CLAIMED = text("""
update public.findings set due_at = clock_timestamp() + make_interval(secs => :lease)
 where state = 'open' and due_at <= clock_timestamp() and id in (
  select c.id from (
    select f.id, f.server_url, f.due_at, f.kind = 'zombie' and (
        select count(*) >= 3 and not exists (select from public.whatsapp_sessions p where p.server_url = f.server_url
            and p.status = 'conectado' and p.last_proof_at > max(z.found_at))
          from public.findings z where z.server_url = f.server_url and z.kind = 'zombie' and z.ended_at is null
        ) as out_of_reach, row_number() over (partition by f.server_url order by f.due_at, f.id) as place
      from public.findings f join public.whatsapp_sessions s on s.id = f.session_id
     where f.state = 'open' and f.due_at <= clock_timestamp()
       and coalesce(s.cleaning_until < clock_timestamp(), true)
       and not exists (select from public.findings d
             where d.session_id is null and d.server_url = f.server_url and d.ended_at is null)) c
   where c.place <= case when c.out_of_reach then 1 else :cap end - (
         select count(*) from public.findings b where b.state = 'open' and b.server_url = c.server_url
           and b.due_at > clock_timestamp() and b.acted_at > clock_timestamp() - make_interval(secs => :step))
   order by c.due_at limit :limit)
returning id, kind, session_id, user_id, server_url, steps, (
  select coalesce(sum(o.steps), 0) from public.findings o
   where o.session_id = findings.session_id and o.found_at > clock_timestamp() - interval '1 day') as steps_today
""")

_STEPPED = text("""
update public.findings set steps = :steps, due_at = clock_timestamp() + make_interval(secs => :wait),
       acted_at = case when :acted then clock_timestamp() else acted_at end
 where id = :id and state = 'open'
""")

_GIVEN_UP = text("update public.findings set state = 'needs_person', told_at = null where id = :id and state = 'open'")

_SAMPLE = text("""
insert into public.fleet_samples (at, figures)
select date_bin(make_interval(mins => :minutes), now(), 'epoch'), jsonb_build_object(
         'conectado', count(*) filter (where status = 'conectado'),
         'pareando', count(*) filter (where status = 'pareando'),
         'desconectado', count(*) filter (where status = 'desconectado'),
         'unproven', count(*) filter (where status = 'conectado' and coalesce(
             last_proof_at < clock_timestamp() - make_interval(secs => :proof), true)),
         'silent', (select count(*) from public.findings where kind = 'silent' and ended_at is null))
  from public.whatsapp_sessions
having not exists (select from public.fleet_samples
  where at = date_bin(make_interval(mins => :minutes), now(), 'epoch'))
on conflict do nothing
""")

_FORGOTTEN = (
    "delete from public.fleet_samples where at < now() - interval '31 days'",
    "delete from public.session_hours where hour < now() - interval '15 days'",
    "delete from public.findings where ended_at < now() - make_interval(days => :days)",
)
