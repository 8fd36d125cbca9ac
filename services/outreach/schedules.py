"""Schedules: a message is sent at a local time, once or repeatedly; each occurrence is sent once or not at all.

    waiting ──due, session up──▶ sent ─────────────────────────────────────────┐
       ├──due, session down or stopped for the whole grace period──▶ missed ────┼──▶ the next occurrence, or ended
       └──skipped by its owner──▶ skipped ──────────────────────────────────────┘

This module holds what a schedule's owner does. The worker's part is `schedule_runner`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, Select, and_, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from services.contacts import opt_outs
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.base import Record
from services.db.tables.outreach import schedule_runs, schedules
from services.db.tables.platform import media as media_rows
from services.errors import InvalidInput, NotFound
from services.messaging.content import Content
from services.outreach.errors import MomentPassed
from services.outreach.recurrence import Occurrence, ScheduleDraft, next_occurrence, occurrences
from services.outreach.schedule_content import copy_template_file, render_contents, unique_recipients
from services.platform.media_store import Media

NAME_LIMIT = 80
# Ten dates are shown; of a yearly schedule they are ten years.
MAX_SKIP_AHEAD = timedelta(days=11 * 366)


class RunState(StrEnum):
    """What became of an occurrence."""

    SENT = "sent"  # queued: what became of its messages they say themselves
    MISSED = "missed"  # nothing was sent, and nothing will be
    SKIPPED = "skipped"  # its owner said so


@dataclass(frozen=True)
class Schedule:
    """A schedule as its owner sees it. `next` is None once it has ended; one that is paused keeps it. `silenced` are
    the phones of recipients who asked for silence: they get nothing."""

    id: UUID
    draft: ScheduleDraft
    next: Occurrence | None
    paused_at: datetime | None
    ended_at: datetime | None
    created_at: datetime
    silenced: tuple[str, ...] = ()


def create(actor: Actor, draft: ScheduleDraft, now: datetime | None = None, key: UUID | None = None) -> Schedule:
    """Begin a schedule of the actor's own; the same `key` begins one, however often it is sent.

    Raises: MomentPassed where nothing of it is still to come, InvalidInput and its kinds for what is wrong with it, and
        NotFound for somebody else's file or template.
    """
    user_id = _require_owner(actor)
    copy_template_file(actor, draft)
    with transaction(actor) as tx:
        values = _draft_columns(tx, user_id, draft, now or datetime.now(UTC))
        schedule_id = key or uuid4()
        tx.execute(insert(schedules).values(id=schedule_id, user_id=user_id, **values).on_conflict_do_nothing())
        return _build_schedules(tx, user_id, [_lock_schedule(tx, user_id, schedule_id)])[0]


def change(actor: Actor, schedule_id: UUID, draft: ScheduleDraft, now: datetime | None = None) -> Schedule:
    """Change a schedule from now on; one that had ended begins anew.

    Raises: what `schedules.create` raises; NotFound also for a schedule that is not the actor's.
    """
    user_id = _require_owner(actor)
    copy_template_file(actor, draft)
    with transaction(actor) as tx:
        held = _lock_schedule(tx, user_id, schedule_id)
        values = _draft_columns(tx, user_id, draft, now or datetime.now(UTC))
        if held.paused_at is not None:
            values["next_check_at"] = None
        update_row(tx, schedule_id, ended_at=None, **values)
        row = tx.execute(select_schedules().where(schedules.c.id == schedule_id)).one()
        return _build_schedules(tx, user_id, [row])[0]


def set_paused(actor: Actor, schedule_id: UUID, *, on: bool, now: datetime | None = None) -> Schedule:
    """Hold a schedule, or let it go on; what fell due meanwhile is not made up for.

    Raises: NotFound.
    """
    user_id = _require_owner(actor)
    with transaction(actor) as tx:
        held = _lock_schedule(tx, user_id, schedule_id)
        if on:
            update_row(tx, schedule_id, paused_at=func.now(), next_check_at=None)
        else:
            moment = now or datetime.now(UTC)
            update_row(
                tx,
                schedule_id,
                paused_at=None,
                **next_columns(next_occurrence(build_draft(held), None, moment), moment),
            )
        row = tx.execute(select_schedules().where(schedules.c.id == schedule_id)).one()
        return _build_schedules(tx, user_id, [row])[0]


def set_skipped(actor: Actor, schedule_id: UUID, wall: datetime, *, on: bool = True) -> None:
    """Leave one occurrence out, or take it back in while it is still to come.

    Raises: NotFound.
    """
    user_id = _require_owner(actor)
    with transaction(actor) as tx:
        held = _lock_schedule(tx, user_id, schedule_id)
        draft = build_draft(held)
        # Far ahead it would take long to count there; before the first there is nothing to count from.
        now = datetime.now(UTC).replace(tzinfo=None)
        if wall < draft.first or wall - max(draft.first, now) > MAX_SKIP_AHEAD:
            raise NotFound("no occurrence at that time")
        found = next(occurrences(draft, wall - timedelta(seconds=1)), None)
        if found is None or found.wall != wall:
            raise NotFound("no occurrence at that time")
        if on:
            row = {"schedule_id": schedule_id, "user_id": user_id, "local_time": wall, "due_at": found.at}
            tx.execute(insert(schedule_runs).values(state=RunState.SKIPPED, **row).on_conflict_do_nothing())
        else:
            taken = and_(schedule_runs.c.schedule_id == schedule_id, schedule_runs.c.local_time == wall)
            tx.execute(delete(schedule_runs).where(taken, schedule_runs.c.state == RunState.SKIPPED))


def end(actor: Actor, schedule_id: UUID) -> None:
    """End a schedule for good; what it has sent stays.

    Raises: NotFound.
    """
    user_id = _require_owner(actor)
    with transaction(actor) as tx:
        _lock_schedule(tx, user_id, schedule_id)
        update_row(tx, schedule_id, ended_at=func.now(), next_local_time=None, next_at=None, next_check_at=None)


def list_schedules(
    actor: Actor, *, ended: bool = False, limit: int | None = None, after: tuple[datetime, UUID] | None = None
) -> list[Schedule]:
    """The actor's schedules, the next to go first; or those that have ended, newest first, at most 100.

    At most `limit`, and only those that come after the `list_position` of another one.
    """
    user_id = _require_owner(actor)
    moment, wanted = schedules.c.next_at, select_schedules().where(schedules.c.user_id == user_id)
    if ended:
        moment, limit = schedules.c.ended_at, min(limit or 100, 100)
        wanted = wanted.where(moment.is_not(None)).order_by(moment.desc(), schedules.c.id.desc())
    else:
        wanted = wanted.where(schedules.c.ended_at.is_(None)).order_by(moment, schedules.c.id)
    if after is not None:
        here = tuple_(moment, schedules.c.id)
        wanted = wanted.where(here < tuple_(*after) if ended else here > tuple_(*after))
    with transaction(actor) as tx:
        return _build_schedules(tx, user_id, tx.execute(wanted.limit(limit)).all())


def list_position(schedule: Schedule) -> tuple[datetime, UUID]:
    """Where a schedule stands in the order of `list_schedules`."""
    moment = schedule.ended_at or (schedule.next.at if schedule.next else schedule.created_at)
    return moment, schedule.id


def get_schedule(actor: Actor, schedule_id: UUID) -> Schedule:
    """One of the actor's schedules.

    Raises: NotFound, also where it is somebody else's.
    """
    user_id = _require_owner(actor)
    with transaction(actor) as tx:
        row = tx.execute(
            select_schedules().where(schedules.c.id == schedule_id, schedules.c.user_id == user_id)
        ).one_or_none()
        if row is None:
            raise NotFound(f"schedule {schedule_id}")
        return _build_schedules(tx, user_id, [row])[0]


def list_upcoming(actor: Actor, schedule: Schedule, count: int = 10) -> list[Occurrence]:
    """The next `count` occurrences of a schedule, with those that are to be skipped."""
    if schedule.next is None:
        return []
    just_before = schedule.next.wall - timedelta(seconds=1)
    coming = [one for one, _number in zip(occurrences(schedule.draft, just_before), range(count), strict=False)]
    decided = select(schedule_runs.c.local_time).where(
        schedule_runs.c.schedule_id == schedule.id, schedule_runs.c.local_time >= schedule.next.wall
    )
    with transaction(actor) as tx:
        skipped = set(tx.execute(decided).scalars())
    return [Occurrence(one.wall, one.at, one.wall in skipped) for one in coming]


def _require_owner(actor: Actor) -> UUID:
    return actor.require_user("only a signed-in user schedules")


def _lock_schedule(tx: Connection, user_id: UUID, schedule_id: UUID) -> Record:
    """The row, locked against the worker.

    Raises: NotFound.
    """
    row = tx.execute(
        select_schedules()
        .where(schedules.c.id == schedule_id, schedules.c.user_id == user_id)
        .with_for_update(of=schedules)
    ).one_or_none()
    if row is None:
        raise NotFound(f"schedule {schedule_id}")
    return row


def update_row(tx: Connection, schedule_id: UUID, *, notify: bool = True, **values: Any) -> None:
    """`notify` False: only the worker's own clock is moved, of which nobody needs to hear."""
    changed = values | ({"updated_at": func.now()} if notify else {})
    tx.execute(update(schedules).where(schedules.c.id == schedule_id).values(**changed))


def next_columns(due: Occurrence | None, now: datetime) -> dict[str, Any]:
    """The columns that hold the next occurrence; without one (None) the schedule ends at `now`."""
    if due is None:
        return {"next_local_time": None, "next_at": None, "next_check_at": None, "ended_at": now}
    return {"next_local_time": due.wall, "next_at": due.at, "next_check_at": due.at, "ended_at": None}


def _draft_columns(tx: Connection, user_id: UUID, draft: ScheduleDraft, now: datetime) -> dict[str, Any]:
    """The columns of a draft.

    Raises: what `schedules.create` raises.
    """
    name = draft.name.strip()
    if not 0 < len(name) <= NAME_LIMIT or draft.first.tzinfo is not None or "\x00" in name:
        raise InvalidInput("a schedule has a name of 1 to 80 characters and a time on the wall")
    to = unique_recipients(draft.to)
    render_contents(tx, draft, to, user_id)
    due = next_occurrence(draft, None, now)
    if due is None:
        raise MomentPassed("nothing is still to come")
    content = draft.content or Content()
    return {
        "name": name,
        "time_zone": draft.zone,
        "first_local_time": draft.first,
        "rule": draft.rule,
        "kind": content.kind,
        "body": content.body.strip(),
        "media_sha256": content.media.sha256 if content.media else None,
        "filename": content.filename,
        "detail": dict(content.detail),
        "template_id": draft.template_id,
        "template_version": draft.template_version,
        "recipients": [{"phone": one.phone, "name": one.name, "values": dict(one.values)} for one in to],
        "next_local_time": due.wall,
        "next_at": due.at,
        "next_check_at": due.at,
    }


def select_schedules() -> Select[Any]:
    """The query for schedules with the type and the size of their files."""
    file = and_(media_rows.c.user_id == schedules.c.user_id, media_rows.c.sha256 == schedules.c.media_sha256)
    return select(schedules, media_rows.c.mimetype, media_rows.c.size).select_from(
        schedules.outerjoin(media_rows, file)
    )


def build_draft(row: Record) -> ScheduleDraft:
    """The draft of a row of `select_schedules`."""
    content = None
    if row.template_id is None:
        media = read_row(Media, row, sha256=row.media_sha256) if row.media_sha256 else None
        content = read_row(Content, row, media=media, quoted_wpp_id=None)
    return read_row(
        ScheduleDraft, row, zone=row.time_zone, first=row.first_local_time, to=row.recipients, content=content
    )


def _build_schedules(tx: Connection, user_id: UUID, rows: Sequence[Record]) -> list[Schedule]:
    drafts = [build_draft(row) for row in rows]
    silent = opt_outs.find_opted_out(tx, user_id, {one.phone for draft in drafts for one in draft.to})
    return [_build_schedule(row, draft, silent) for row, draft in zip(rows, drafts, strict=True)]


def _build_schedule(row: Record, draft: ScheduleDraft, silent: Collection[str]) -> Schedule:
    due = Occurrence(wall=row.next_local_time, at=row.next_at) if row.next_local_time is not None else None
    silenced = tuple(one.phone for one in draft.to if one.phone in silent)
    return read_row(Schedule, row, draft=draft, next=due, silenced=silenced)
