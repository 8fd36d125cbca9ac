"""Schedules: something sent at a time on the wall, once or again and again, each occurrence once or not at all.

    waiting ──due, session up──▶ sent ──────────────────────────────────┐
       ├──due, session down or stopped, for all of the grace──▶ missed ──┼──▶ the next occurrence, or ended
       └──skipped by its owner──▶ skipped ───────────────────────────────┘

A schedule keeps the clock of its time zone: after a change of daylight saving it still goes at ten. A time that does
not exist on a day goes at the next one that does; one that exists twice goes at the first (`services.wallclock`). An
occurrence that no worker was there for is sent when it is late by no more than the grace, else it is missed and shown.
The row of an occurrence and its messages are committed together, which makes it happen once.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import structlog
from dateutil.rrule import rrule, rruleset, rrulestr
from sqlalchemy import Connection, Select, and_, delete, func, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from services import messages, optouts, sessions, settings, templates, wallclock
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.models import Record, lanes, schedule_runs, schedules
from services.db.models import media as media_rows
from services.db.models import sessions as session_rows
from services.errors import (
    N_,
    EmptyMessage,
    Forbidden,
    InvalidInput,
    MessageTooLong,
    MomentPassed,
    NotFound,
    ServiceError,
)
from services.media import Media
from services.messages import TEXT_LIMIT, Content, Kind, Origin
from services.wppconnect.phone import display, normalise, spellings

log = structlog.get_logger(__name__)

NAME_LIMIT = 80
MAX_RECIPIENTS = 100
MAX_INTERVAL = 366
# How many occurrences are decided in one transaction, where a worker was away for long.
BATCH = 200
# A worker that dies leaves what it had claimed to the next one after this long. One that is only slow
# keeps it: it holds the row's lock.
LEASE = timedelta(seconds=5)
# While a session is down, whether it is up again is asked this often.
RETRY = timedelta(seconds=5)
# What a rule may say: at most once a day, at the time of its first occurrence.
_PARTS = frozenset({"FREQ", "INTERVAL", "BYDAY", "BYMONTHDAY", "BYSETPOS", "COUNT", "UNTIL", "WKST"})
_FREQUENCIES = frozenset({"DAILY", "WEEKLY", "MONTHLY", "YEARLY"})
# Ten dates are shown; of a yearly schedule they are ten years.
SKIP_AHEAD = timedelta(days=11 * 366)
_RULE = re.compile(r"[A-Z]+=[A-Z0-9,+\-]+(?:;[A-Z]+=[A-Z0-9,+\-]+)*")


class RunState(StrEnum):
    """What became of an occurrence."""

    SENT = "sent"  # queued: what became of its messages they say themselves
    MISSED = "missed"  # nothing was sent, and nothing will be
    SKIPPED = "skipped"  # its owner said so


# Why an occurrence was missed or left out → what happened, for people.
REASONS: dict[str, str] = {
    "late": N_("O console ficou fora do ar na hora marcada e voltou tarde demais."),
    "disconnected": N_("O WhatsApp estava desconectado na hora marcada."),
    "stopped": N_("Os envios estavam parados na hora marcada."),
    "content": N_("O texto não pôde ser montado para todos os destinatários."),
    "opted_out": N_("Quem receberia pediu para não receber mais."),
}


@dataclass(frozen=True)
class To:
    """Whom it goes to: `phone` in digits, or a group's `…@g.us`; `values` are what a template's variables stand for."""

    phone: str
    name: str | None = field(default=None, repr=False)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Occurrence:
    """One time: on the clock of the schedule's zone (naive), and the moment at which that is."""

    wall: datetime
    at: datetime
    skipped: bool = False


@dataclass(frozen=True)
class Draft:
    """What a schedule is made of: when, to whom, and a `content`, or the version of a template.

    `first` is the first occurrence on the clock of `zone` (naive, to the minute); `rule` an iCalendar RRULE without
    its name, None for once.
    """

    name: str
    zone: str
    first: datetime
    rule: str | None
    to: tuple[To, ...]
    content: Content | None = None
    template_id: UUID | None = None
    template_version: int | None = None


@dataclass(frozen=True)
class Schedule:
    """A schedule as its owner sees it. `next` is None once it has ended; one that is paused keeps it."""

    id: UUID
    draft: Draft
    next: Occurrence | None
    paused_at: datetime | None
    ended_at: datetime | None
    created_at: datetime


@dataclass(frozen=True)
class Run:
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
class Entry:
    """One occurrence in a calendar, decided (`state`) or still to come (None)."""

    at: datetime
    schedule_id: UUID
    name: str
    state: RunState | None
    paused: bool


# --- when -------------------------------------------------------------------------------------------------------------


def occurrences(draft: Draft, after: datetime | None = None) -> Iterator[Occurrence]:
    """The occurrences of a schedule in their order, from the first one on or those behind the wall time `after`."""
    if draft.rule is None:
        walls: Iterator[datetime] = iter([draft.first] if after is None or draft.first > after else [])
    else:
        rule = _parsed(draft.rule, draft.first)
        walls = iter(rule) if after is None else rule.xafter(after)
    for wall in walls:
        yield Occurrence(wall, wallclock.instant(wall, draft.zone))


def _parsed(rule: str, first: datetime) -> rrule:
    """Raises InvalidInput for what is no rule, or one that would send more often than once a day."""
    parts = dict(part.split("=", 1) for part in rule.split(";")) if _RULE.fullmatch(rule) else {}
    if not parts or set(parts) - _PARTS or parts.get("FREQ") not in _FREQUENCIES or rule.count("=") != len(parts):
        raise InvalidInput("no recurrence rule of ours")
    try:
        if not 1 <= int(parts.get("INTERVAL", "1")) <= MAX_INTERVAL:
            raise InvalidInput("interval out of range")
        made: rrule | rruleset = rrulestr(rule, dtstart=first)
    except (ValueError, TypeError, IndexError) as error:
        raise InvalidInput(f"recurrence rule: {type(error).__name__}") from None
    assert isinstance(made, rrule)
    return made


def _next(draft: Draft, after: datetime | None, now: datetime) -> Occurrence | None:
    """The first occurrence that is behind `after` and not before `now`."""
    return next((one for one in occurrences(draft, after) if one.at >= now), None)


# --- what a person does -----------------------------------------------------------------------------------------------


def create(actor: Actor, draft: Draft, now: datetime | None = None, key: UUID | None = None) -> Schedule:
    """Begin a schedule of the actor's own; the same `key` begins one, however often it is sent.

    Raises MomentPassed where nothing of it is still to come, InvalidInput and its kinds for what is wrong with it, and
    NotFound for somebody else's file or template.
    """
    user_id = _owner(actor)
    _keep_file(actor, draft)
    with transaction(actor) as tx:
        values = _values(tx, user_id, draft, now or datetime.now(UTC))
        schedule_id = key or uuid4()
        tx.execute(insert(schedules).values(id=schedule_id, user_id=user_id, **values).on_conflict_do_nothing())
        row = _held(tx, user_id, schedule_id)
    return _schedule(row)


def change(actor: Actor, schedule_id: UUID, draft: Draft, now: datetime | None = None) -> Schedule:
    """Change a schedule from now on; one that had ended begins anew. Raises as `create`, and NotFound."""
    user_id = _owner(actor)
    _keep_file(actor, draft)
    with transaction(actor) as tx:
        held = _held(tx, user_id, schedule_id)
        values = _values(tx, user_id, draft, now or datetime.now(UTC))
        if held.paused_at is not None:
            values["look_at"] = None
        _write(tx, schedule_id, ended_at=None, **values)
        row = tx.execute(_listing().where(schedules.c.id == schedule_id)).one()
    return _schedule(row)


def pause(actor: Actor, schedule_id: UUID, *, on: bool, now: datetime | None = None) -> Schedule:
    """Hold a schedule, or let it go on; what fell due meanwhile is not made up for. Raises NotFound."""
    user_id = _owner(actor)
    with transaction(actor) as tx:
        held = _held(tx, user_id, schedule_id)
        if on:
            _write(tx, schedule_id, paused_at=func.now(), look_at=None)
        else:
            moment = now or datetime.now(UTC)
            _write(tx, schedule_id, paused_at=None, **_upcoming_values(_next(_draft(held), None, moment), moment))
        row = tx.execute(_listing().where(schedules.c.id == schedule_id)).one()
    return _schedule(row)


def skip(actor: Actor, schedule_id: UUID, wall: datetime, *, on: bool = True) -> None:
    """Leave one occurrence out, or take it back in while it is still to come. Raises NotFound."""
    user_id = _owner(actor)
    with transaction(actor) as tx:
        held = _held(tx, user_id, schedule_id)
        draft = _draft(held)
        # Far ahead it would take long to count there; before the first there is nothing to count from.
        now = datetime.now(UTC).replace(tzinfo=None)
        if wall < draft.first or wall - max(draft.first, now) > SKIP_AHEAD:
            raise NotFound("no occurrence at that time")
        found = next(occurrences(draft, wall - timedelta(seconds=1)), None)
        if found is None or found.wall != wall:
            raise NotFound("no occurrence at that time")
        if on:
            row = {"schedule_id": schedule_id, "user_id": user_id, "wall": wall, "due_at": found.at}
            tx.execute(insert(schedule_runs).values(state=RunState.SKIPPED, **row).on_conflict_do_nothing())
        else:
            taken = and_(schedule_runs.c.schedule_id == schedule_id, schedule_runs.c.wall == wall)
            tx.execute(delete(schedule_runs).where(taken, schedule_runs.c.state == RunState.SKIPPED))


def end(actor: Actor, schedule_id: UUID) -> None:
    """End a schedule for good; what it has sent stays. Raises NotFound."""
    user_id = _owner(actor)
    with transaction(actor) as tx:
        _held(tx, user_id, schedule_id)
        _write(tx, schedule_id, ended_at=func.now(), next_wall=None, next_at=None, look_at=None)


def mine(
    actor: Actor, *, ended: bool = False, limit: int | None = None, after: tuple[datetime, UUID] | None = None
) -> list[Schedule]:
    """The actor's schedules, the next to go first; or those that have ended, newest first, at most 100.

    At most `limit`, and only those that come after the `place` of another one.
    """
    moment, wanted = schedules.c.next_at, _listing().where(schedules.c.user_id == actor.user_id)
    if ended:
        moment, limit = schedules.c.ended_at, min(limit or 100, 100)
        wanted = wanted.where(moment.is_not(None)).order_by(moment.desc(), schedules.c.id.desc())
    else:
        wanted = wanted.where(schedules.c.ended_at.is_(None)).order_by(moment, schedules.c.id)
    if after is not None:
        here = tuple_(moment, schedules.c.id)
        wanted = wanted.where(here < tuple_(*after) if ended else here > tuple_(*after))
    with transaction(actor) as tx:
        return [_schedule(row) for row in tx.execute(wanted.limit(limit))]


def place(schedule: Schedule) -> tuple[datetime, UUID]:
    """Where a schedule stands in the order of `mine`."""
    moment = schedule.ended_at or (schedule.next.at if schedule.next else schedule.created_at)
    return moment, schedule.id


def get(actor: Actor, schedule_id: UUID) -> Schedule:
    """One of the actor's schedules. Raises NotFound, also where it is somebody else's."""
    with transaction(actor) as tx:
        row = tx.execute(
            _listing().where(schedules.c.id == schedule_id, schedules.c.user_id == actor.user_id)
        ).one_or_none()
    if row is None:
        raise NotFound(f"schedule {schedule_id}")
    return _schedule(row)


def upcoming(actor: Actor, schedule: Schedule, count: int = 10) -> list[Occurrence]:
    """The next `count` occurrences of a schedule, with those that are to be skipped."""
    if schedule.next is None:
        return []
    just_before = schedule.next.wall - timedelta(seconds=1)
    coming = [one for one, _number in zip(occurrences(schedule.draft, just_before), range(count), strict=False)]
    decided = select(schedule_runs.c.wall).where(
        schedule_runs.c.schedule_id == schedule.id, schedule_runs.c.wall >= schedule.next.wall
    )
    with transaction(actor) as tx:
        skipped = set(tx.execute(decided).scalars())
    return [Occurrence(one.wall, one.at, one.wall in skipped) for one in coming]


def runs(actor: Actor, schedule_id: UUID | None = None, limit: int = 30) -> list[Run]:
    """What became of the occurrences of the actor's schedules, or of one of them, newest first; none to come."""
    wanted = _runs().where(schedule_runs.c.user_id == actor.user_id, schedule_runs.c.due_at <= func.now())
    if schedule_id is not None:
        wanted = wanted.where(schedule_runs.c.schedule_id == schedule_id)
    with transaction(actor) as tx:
        rows = tx.execute(wanted.order_by(schedule_runs.c.due_at.desc()).limit(limit)).all()
    return [_run(row) for row in rows]


def between(actor: Actor, since: datetime, until: datetime) -> list[Entry]:
    """Every occurrence of the actor's schedules from `since` up to `until`, for a calendar; decided and to come."""
    decided = _runs().where(
        schedule_runs.c.user_id == actor.user_id, schedule_runs.c.due_at >= since, schedule_runs.c.due_at < until
    )
    with transaction(actor) as tx:
        past = [_run(row) for row in tx.execute(decided)]
    known = {(one.schedule_id, one.wall) for one in past}
    entries = [Entry(one.due_at, one.schedule_id, one.name, one.state, False) for one in past]
    for schedule in mine(actor):
        if schedule.next is None or schedule.next.at >= until:
            continue
        for one in occurrences(schedule.draft, schedule.next.wall - timedelta(seconds=1)):
            if one.at >= until:
                break
            if one.at >= since and (schedule.id, one.wall) not in known:
                paused = schedule.paused_at is not None
                entries.append(Entry(one.at, schedule.id, schedule.draft.name, None, paused))
    return sorted(entries, key=lambda entry: (entry.at, entry.name))


def preview(draft: Draft, count: int = 10, now: datetime | None = None) -> list[Occurrence]:
    """The next `count` occurrences of what is being written. Raises InvalidInput, MomentPassed."""
    moment = now or datetime.now(UTC)
    first = _next(draft, None, moment)
    if first is None:
        raise MomentPassed("nothing is still to come")
    coming = occurrences(draft, first.wall - timedelta(seconds=1))
    return [one for one, _number in zip(coming, range(count), strict=False)]


# --- what the worker does ---------------------------------------------------------------------------------------------


def step(now: datetime | None = None) -> int:
    """Decide what is due: send it, or note that it was missed; returns how many schedules were looked at."""
    moment = now or datetime.now(UTC)
    with transaction(SYSTEM) as tx:
        claimed = tx.execute(_CLAIM, {"now": moment, "leased": moment + LEASE}).all()
    for row in claimed:
        _serve(row.id, row.look_at, moment)
    return len(claimed)


def next_due_in() -> float | None:
    """Seconds until the worker must look again, None while nothing is scheduled."""
    with transaction(SYSTEM) as tx:
        moment = tx.execute(
            select(func.min(schedules.c.look_at)).where(schedules.c.look_at.is_not(None))
        ).scalar_one_or_none()
    return None if moment is None else max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _serve(schedule_id: UUID, leased: datetime, now: datetime) -> None:
    grace = timedelta(minutes=settings.get().schedule_grace_minutes)
    with transaction(SYSTEM) as tx:
        row = tx.execute(_serving().where(schedules.c.id == schedule_id, schedules.c.look_at == leased)).one_or_none()
        if row is None or row.next_wall is None:
            return  # its owner changed it meanwhile
        draft, hindrance = _draft(row), _hindrance(row)
        coming = occurrences(draft, row.next_wall - timedelta(seconds=1))
        due = next(coming, None)
        for _number in range(BATCH):
            if due is None or due.at > now:
                break
            in_time = now - due.at <= grace
            if hindrance is not None and in_time and not _decided(tx, schedule_id, due):
                _write(tx, schedule_id, look_at=min(now + RETRY, due.at + grace + timedelta(seconds=1)), rung=False)
                return
            _decide(tx, row, draft, due, hindrance or (None if in_time else "late"))
            due = next(coming, None)
        _write(tx, schedule_id, **_upcoming_values(due, now))


def _hindrance(row: Record) -> str | None:
    """Why nothing can leave now."""
    if row.status != sessions.Status.CONNECTED:
        return "disconnected"
    return "stopped" if row.stopped_at is not None else None


def _decided(tx: Connection, schedule_id: UUID, due: Occurrence) -> bool:
    one = and_(schedule_runs.c.schedule_id == schedule_id, schedule_runs.c.wall == due.wall)
    return tx.execute(select(schedule_runs.c.state).where(one)).first() is not None


def _decide(tx: Connection, row: Record, draft: Draft, due: Occurrence, hindrance: str | None) -> None:
    """Write down what becomes of one occurrence and, where it is to be sent, its messages; nothing the second time."""
    if hindrance is not None:
        _note(tx, row, due, RunState.MISSED, hindrance)
        return
    silent = optouts.opted_out(tx, row.user_id, [one.phone for one in draft.to])
    to = [one for one in draft.to if one.phone not in silent]
    try:
        contents = _contents(tx, draft, to, row.user_id)
    except ServiceError as error:
        log.warning("schedule_not_rendered", schedule=str(row.id), error=type(error).__name__)
        _note(tx, row, due, RunState.MISSED, "content")
        return
    if not to:
        _note(tx, row, due, RunState.SKIPPED, "opted_out", left_out=len(silent))
    elif _note(tx, row, due, RunState.SENT, left_out=len(silent)):
        ids = [_put(tx, row, draft, due, one, content) for one, content in zip(to, contents, strict=True)]
        mine = and_(schedule_runs.c.schedule_id == row.id, schedule_runs.c.wall == due.wall)
        tx.execute(update(schedule_runs).where(mine).values(message_ids=ids))
        log.info("schedule_sent", schedule=str(row.id), messages=len(ids), left_out=len(silent))


def _note(
    tx: Connection, row: Record, due: Occurrence, state: RunState, reason: str | None = None, left_out: int = 0
) -> bool:
    """False where that occurrence was decided before."""
    noted = (
        insert(schedule_runs)
        .values(
            schedule_id=row.id,
            user_id=row.user_id,
            wall=due.wall,
            due_at=due.at,
            state=state,
            reason=reason,
            left_out=left_out,
        )
        .on_conflict_do_nothing()
        .returning(schedule_runs.c.wall)
    )
    return tx.execute(noted).first() is not None


def _put(tx: Connection, row: Record, draft: Draft, due: Occurrence, to: To, content: Content) -> UUID:
    origin = Origin(draft.template_id, draft.template_version, schedule_id=row.id)
    key = f"schedule:{row.id}:{due.wall:%Y%m%dT%H%M}:{to.phone}"
    put = messages.put(tx, row.user_id, row.session_id, to.phone, content, key, to.name, origin=origin)
    message_id: UUID = put.id
    return message_id


# --- statements and rows ----------------------------------------------------------------------------------------------

_CLAIM = text("""
update public.schedules set look_at = :leased where id in (
  select id from public.schedules where look_at <= :now order by look_at limit 20 for update skip locked)
returning id, look_at
""")


def _owner(actor: Actor) -> UUID:
    if actor.user_id is None:
        raise Forbidden("only a signed-in user schedules")
    return actor.user_id


def _held(tx: Connection, user_id: UUID, schedule_id: UUID) -> Record:
    """The row, locked against the worker. Raises NotFound."""
    row = tx.execute(
        _listing().where(schedules.c.id == schedule_id, schedules.c.user_id == user_id).with_for_update(of=schedules)
    ).one_or_none()
    if row is None:
        raise NotFound(f"schedule {schedule_id}")
    return row


def _write(tx: Connection, schedule_id: UUID, *, rung: bool = True, **values: Any) -> None:
    """`rung` False: only the worker's own clock is moved, of which nobody needs to hear."""
    changed = values | ({"updated_at": func.now()} if rung else {})
    tx.execute(update(schedules).where(schedules.c.id == schedule_id).values(**changed))


def _upcoming_values(due: Occurrence | None, now: datetime) -> dict[str, Any]:
    if due is None:
        return {"next_wall": None, "next_at": None, "look_at": None, "ended_at": now}
    return {"next_wall": due.wall, "next_at": due.at, "look_at": due.at, "ended_at": None}


def _keep_file(actor: Actor, draft: Draft) -> None:
    """A message carries only what is its sender's: the file of a shared template is copied to them."""
    if draft.template_id is not None:
        template = templates.get(actor, draft.template_id, draft.template_version)
        templates.own(actor, Content(template.kind, media=template.media))


def _values(tx: Connection, user_id: UUID, draft: Draft, now: datetime) -> dict[str, Any]:
    """The columns of a draft. Raises as `create`."""
    name = draft.name.strip()
    if not 0 < len(name) <= NAME_LIMIT or draft.first.tzinfo is not None or "\x00" in name:
        raise InvalidInput("a schedule has a name of 1 to 80 characters and a time on the wall")
    to = _unique(draft.to)
    _contents(tx, draft, to, user_id)
    due = _next(draft, None, now)
    if due is None:
        raise MomentPassed("nothing is still to come")
    content = draft.content or Content()
    return {
        "name": name,
        "zone": draft.zone,
        "first_wall": draft.first,
        "rule": draft.rule,
        "kind": content.kind,
        "body": content.body.strip(),
        "media_sha256": content.media.sha256 if content.media else None,
        "filename": content.filename,
        "detail": dict(content.detail),
        "template_id": draft.template_id,
        "template_version": draft.template_version,
        "recipients": [{"phone": one.phone, "name": one.name, "values": dict(one.values)} for one in to],
        "next_wall": due.wall,
        "next_at": due.at,
        "look_at": due.at,
    }


def _unique(to: Sequence[To]) -> list[To]:
    """Each line once, however it was written. Raises InvalidPhone, and InvalidInput for nobody or too many."""
    found: dict[str, To] = {}
    for one in to:
        is_group = one.phone.endswith("@g.us")
        phone = one.phone if is_group else normalise(f"+{one.phone}" if one.phone.isdecimal() else one.phone)
        found.setdefault(min(spellings(phone)), To(phone, one.name, one.values))
    if not 0 < len(found) <= MAX_RECIPIENTS:
        raise InvalidInput(f"{len(found)} recipients")
    return list(found.values())


def _contents(tx: Connection, draft: Draft, to: Sequence[To], user_id: UUID) -> list[Content]:
    """What each recipient gets. Raises EmptyMessage, MessageTooLong, NotFound, and what a template raises."""
    if draft.template_id is not None:
        template = templates.read(tx, draft.template_id, draft.template_version)
        return [_owned(templates.render(template, _filled(one)), user_id) for one in to]
    content = draft.content or Content()
    if content.kind is Kind.TEXT and not content.body.strip():
        raise EmptyMessage("empty text")
    if len(content.body) > TEXT_LIMIT:
        raise MessageTooLong(f"{len(content.body)} characters", limit=TEXT_LIMIT)
    if content.media is not None and content.media.user_id != user_id:
        raise NotFound("media of somebody else")
    return [content] * len(to)


def _filled(to: To) -> dict[str, str]:
    return {templates.NAME: to.name or "", templates.PHONE: display(to.phone), **to.values}


def _owned(content: Content, user_id: UUID) -> Content:
    """With the copy of a shared template's file that `create` and `change` had put into the sender's own store."""
    if content.media is None:
        return content
    return replace(content, media=replace(content.media, user_id=user_id))


def _listing() -> Select[Any]:
    file = and_(media_rows.c.user_id == schedules.c.user_id, media_rows.c.sha256 == schedules.c.media_sha256)
    return select(schedules, media_rows.c.mimetype, media_rows.c.size).select_from(
        schedules.outerjoin(media_rows, file)
    )


def _serving() -> Select[Any]:
    """A schedule, locked, with the session that it goes through."""
    return (
        _listing()
        .add_columns(session_rows.c.id.label("session_id"), session_rows.c.status, lanes.c.stopped_at)
        .outerjoin(session_rows, session_rows.c.user_id == schedules.c.user_id)
        .outerjoin(lanes, lanes.c.session_id == session_rows.c.id)
        .with_for_update(of=schedules)
    )


def _runs() -> Select[Any]:
    return select(schedule_runs, schedules.c.name).join(schedules, schedules.c.id == schedule_runs.c.schedule_id)


def _draft(row: Record) -> Draft:
    media = Media(row.user_id, row.media_sha256, row.mimetype, row.size) if row.media_sha256 else None
    content = Content(Kind(row.kind), row.body, media, row.filename, row.detail)
    return Draft(
        name=row.name,
        zone=row.zone,
        first=row.first_wall,
        rule=row.rule,
        to=tuple(To(one["phone"], one["name"], one["values"]) for one in row.recipients),
        content=content if row.template_id is None else None,
        template_id=row.template_id,
        template_version=row.template_version,
    )


def _schedule(row: Record) -> Schedule:
    return Schedule(
        id=row.id,
        draft=_draft(row),
        next=Occurrence(row.next_wall, row.next_at) if row.next_wall is not None else None,
        paused_at=row.paused_at,
        ended_at=row.ended_at,
        created_at=row.created_at,
    )


def _run(row: Record) -> Run:
    return Run(
        schedule_id=row.schedule_id,
        name=row.name,
        wall=row.wall,
        due_at=row.due_at,
        state=RunState(row.state),
        reason=row.reason,
        message_ids=tuple(row.message_ids),
        left_out=row.left_out,
        at=row.at,
    )
