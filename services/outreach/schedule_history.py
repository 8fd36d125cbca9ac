"""What became of the occurrences of schedules, and the calendar of past and future ones."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_rows
from services.db.tables.outreach import schedule_runs, schedules
from services.errors import N_
from services.outreach.recurrence import occurrences
from services.outreach.schedules import RunState, list_schedules

# Why an occurrence was missed or left out → what happened, for people.
REASON_SENTENCES: dict[str, str] = {
    "late": N_("O console ficou fora do ar na hora marcada e voltou tarde demais."),
    "disconnected": N_("O WhatsApp estava desconectado na hora marcada."),
    "stopped": N_("Os envios estavam parados na hora marcada."),
    "content": N_("O texto não pôde ser montado para todos os destinatários."),
    "opted_out": N_("Quem receberia pediu para não receber mais."),
}


@dataclass(frozen=True)
class ScheduleRun:
    """What became of one occurrence. `left_out`: how many got nothing because they asked for silence."""

    schedule_id: UUID
    name: str
    wall: datetime
    due_at: datetime
    state: RunState
    reason: str | None
    message_ids: tuple[UUID, ...]
    left_out: int
    at: datetime


@dataclass(frozen=True)
class CalendarEntry:
    """One occurrence in a calendar, decided (`state`) or still to come (None)."""

    at: datetime
    schedule_id: UUID
    name: str
    state: RunState | None
    paused: bool


def list_runs(actor: Actor, schedule_id: UUID | None = None, limit: int = 30) -> list[ScheduleRun]:
    """What became of the occurrences of the actor's schedules, or of one of them, newest first; none to come."""
    wanted = _select_runs().where(schedule_runs.c.user_id == actor.user_id, schedule_runs.c.due_at <= func.now())
    if schedule_id is not None:
        wanted = wanted.where(schedule_runs.c.schedule_id == schedule_id)
    with transaction(actor) as tx:
        rows = tx.execute(wanted.order_by(schedule_runs.c.due_at.desc()).limit(limit)).all()
    return read_rows(ScheduleRun, rows)


def list_calendar(actor: Actor, since: datetime, until: datetime) -> list[CalendarEntry]:
    """Every occurrence of the actor's schedules from `since` up to `until`, for a calendar; decided and to come."""
    decided = _select_runs().where(
        schedule_runs.c.user_id == actor.user_id, schedule_runs.c.due_at >= since, schedule_runs.c.due_at < until
    )
    with transaction(actor) as tx:
        past = read_rows(ScheduleRun, tx.execute(decided))
    known = {(one.schedule_id, one.wall) for one in past}
    entries = [CalendarEntry(one.due_at, one.schedule_id, one.name, one.state, False) for one in past]
    for schedule in list_schedules(actor):
        if schedule.next is None or schedule.next.at >= until:
            continue
        for one in occurrences(schedule.draft, schedule.next.wall - timedelta(seconds=1)):
            if one.at >= until:
                break
            if one.at >= since and (schedule.id, one.wall) not in known:
                paused = schedule.paused_at is not None
                entries.append(CalendarEntry(one.at, schedule.id, schedule.draft.name, None, paused))
    return sorted(entries, key=lambda entry: (entry.at, entry.name))


def _select_runs() -> Select[Any]:
    return select(
        schedule_runs.c.schedule_id,
        schedules.c.name,
        schedule_runs.c.local_time.label("wall"),
        schedule_runs.c.due_at,
        schedule_runs.c.state,
        schedule_runs.c.reason,
        schedule_runs.c.message_ids,
        schedule_runs.c.left_out,
        schedule_runs.c.decided_at.label("at"),
    ).join(schedules, schedules.c.id == schedule_runs.c.schedule_id)
