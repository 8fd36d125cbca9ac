"""The receiver's log for staff: look at events, see what one would change, send failed ones round again.

Bodies are users' chats: of a body only its shape leaves this module. What an event would change is tried out by the
worker, in a transaction that is rolled back, because only the worker's role may move sessions and messages.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Join,
    Select,
    Table,
    Uuid,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.types import String

from services import audit, files, inbox
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.models import Record, directory, event_trials, events, messages, parked_acks, sessions
from services.db.search import containing
from services.errors import Forbidden, InvalidInput, NotFound, WorkerAway
from services.wppconnect import events as webhook

PAGE_SIZE = 50
# People whom a search may mean at once; whoever finds more has to type more.
PEOPLE_FOUND = 200
# With the search's own text, which may be a session's name.
NAMES_USED = PEOPLE_FOUND + 1
KINDS_SHOWN = 100
REPLAY_ROWS = 500
RATE_PERIOD = timedelta(hours=1)
# Ids and times are drawn row by row, but writers work side by side: their orders differ by what these have under way.
DISORDER = inbox.BATCH_ROWS * inbox.WRITERS
# Greater than any id: the greatest bigint.
NO_ID = 2**63 - 1
# A body beyond this is a file: its shape says no more than its size does.
SHAPE_BYTES = 1024 * 1024
SHAPE_FIELDS = 200
SHAPE_DEPTH = 20
TRIAL_SECONDS = 10.0
TRIAL_POLL_SECONDS = 0.05
# Each trial holds the locks of its session for a moment; several in one transaction save commits.
TRIALS_AT_ONCE = 10
TRIALS_KEPT = timedelta(hours=1)

# Keys that the protocol itself defines with a word or a number of its own. Every other value is somebody's.
OPEN_KEYS = {"event", "status", "type", "ack", "connected", "isGroupMsg", "fromMe", "self", "isNewMsg", "ackType"}
_WORD = re.compile(r"[A-Za-z_-]{1,32}")
_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]{0,40}")
# What a session or a message holds that staff may not read, or that says nothing.
_PRIVATE = {"qr_code", "qr_urlcode", "phone_code", "pairing_phone", "wpp_id"}
_SILENT = {"updated_at", "webhook_secret_hash", "webhook_secret_previous_hash", "body", "contact_name"}
HIDDEN = "•••"


class Verdict(StrEnum):
    """What became of a delivery."""

    RECEIVED = "received"  # stored; waits for the worker
    HANDLED = "handled"  # it moved what it was evidence for
    UNSUPPORTED = "unsupported"  # kept; nothing is done with its kind
    DUPLICATE = "duplicate"  # came a second time
    FAILED = "failed"  # handling it failed each time; may be replayed
    INVALID = "invalid"  # no JSON object


@dataclass(frozen=True)
class Filter:
    """Which events. `session` is a part of an e-mail or a name, or a session's whole name; `within` reaches back from
    now."""

    session: str = ""
    kind: str | None = None
    verdict: Verdict | None = None
    within: timedelta | None = None


@dataclass(frozen=True)
class Event:
    """One delivery as the list shows it. `size` in bytes."""

    id: int
    received_at: datetime
    session: str | None
    email: str | None
    kind: str
    verdict: Verdict
    attempts: int
    handled_at: datetime | None
    error: str | None
    size: int


@dataclass(frozen=True)
class EventPage:
    """Events, newest first; `older` is what `page(before=…)` takes for the next ones, None at the end.

    `too_many`: the search means more people than are looked for (200, in the order of their e-mails).
    """

    events: list[Event]
    older: int | None
    too_many: bool = False


@dataclass(frozen=True)
class Field:
    """One place in a body: its path, its type with a length, and its value where the protocol itself made it."""

    path: str
    type: str
    value: str


@dataclass(frozen=True)
class Detail:
    """One event. `shape` is empty where the body is no JSON object, or a file."""

    event: Event
    request_id: str
    current_secret: bool
    shape: list[Field]


@dataclass(frozen=True)
class Minute:
    """The deliveries of one minute with one verdict; `waited` is the longest time to their handling, in seconds."""

    at: datetime
    verdict: Verdict
    count: int
    waited: float


@dataclass(frozen=True)
class Rates:
    """The last hour, and how long the oldest event waits by now: `oldest_waiting` in seconds, None while none does."""

    minutes: list[Minute]
    oldest_waiting: float | None


@dataclass(frozen=True)
class Change:
    """What a field of a session or a message would become. Secrets and codes show as `•••`."""

    where: str
    field: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Trial:
    """What processing an event would do now. `error` holds the traceback's places where it would fail."""

    event_id: int
    verdict: Verdict
    changes: list[Change]
    error: str | None


@dataclass(frozen=True)
class Progress:
    """How far a replay of many has got."""

    done: int
    total: int


# --- looking ----------------------------------------------------------------------------------------------------------


def page(actor: Actor, wanted: Filter | None = None, before: int | None = None) -> EventPage:
    """One page (50 events) of those `wanted`, newest first, older than the id `before`. Raises Forbidden."""
    _staff(actor)
    with transaction(actor) as tx:
        names = _sessions_named(tx, wanted) if wanted else None
        found = _rows(tx, tx.execute(_listed(tx, wanted or Filter(), names, before)).scalars().all())
    older = found[PAGE_SIZE - 1].id if len(found) > PAGE_SIZE else None
    return EventPage(found[:PAGE_SIZE], older, too_many=len(names or ()) > NAMES_USED)


def these(actor: Actor, ids: Sequence[int]) -> list[Event]:
    """These events as they are now, newest first, without those that are gone. Raises Forbidden."""
    _staff(actor)
    with transaction(actor) as tx:
        return _rows(tx, ids)


def kinds(actor: Actor) -> list[str]:
    """The kinds of event (up to 100) that were handled so far. Raises Forbidden.

    Jumps through the index from one kind to the next, because reading every row for a handful of words would be absurd.
    """
    _staff(actor)
    with transaction(actor) as tx:
        return list(tx.execute(_KINDS, {"most": KINDS_SHOWN}).scalars())


def detail(actor: Actor, event_id: int) -> Detail:
    """One event with the shape of its body. Raises Forbidden, NotFound."""
    _staff(actor)
    with transaction(actor) as tx:
        row = tx.execute(
            select(*_COLUMNS, events.c.request_id, events.c.current_secret, _SMALL_BODY)
            .select_from(_with_people())
            .where(events.c.id == event_id)
        ).one_or_none()
    if row is None:
        raise NotFound(f"event {event_id}")
    return Detail(_event(row), row.request_id.hex, row.current_secret, shape(row.small_body))


def rates(actor: Actor) -> Rates:
    """Deliveries by minute and verdict over the last hour, and how long they waited. Raises Forbidden."""
    _staff(actor)
    # What is no JSON object is never handled: it waits for nobody.
    done = _by_minute(_done(), func.coalesce(_seconds(events.c.handled_at - events.c.received_at), 0))
    waiting = _by_minute(_waiting(), _seconds(func.now() - events.c.received_at))
    oldest = select(_seconds(func.now() - events.c.received_at)).where(_waiting()).order_by(events.c.id).limit(1)
    with transaction(actor) as tx:
        rows = tx.execute(union_all(done, waiting).order_by("at")).all()
        waits = tx.execute(oldest).scalar_one_or_none()
    minutes = [Minute(row.at, Verdict(row.verdict), row.n, max(float(row.waited), 0.0)) for row in rows]
    return Rates(minutes, None if waits is None else float(waits))


def shape(body: str | None) -> list[Field]:
    """Keys and types of a body, without what people wrote, sent or are called; at most 200 fields, 20 levels deep."""
    payload = files.parsed(body) if body else None
    return list(islice(_fields(payload, ""), SHAPE_FIELDS)) if isinstance(payload, dict) else []


# --- replaying --------------------------------------------------------------------------------------------------------


def replay(actor: Actor, ids: Sequence[int]) -> int:
    """Send failed events (up to 500) round again; returns how many of them were still failed. Raises Forbidden,
    InvalidInput."""
    _staff(actor)
    if len(ids) > REPLAY_ROWS:
        raise InvalidInput(f"{len(ids)} events at once")
    with transaction(actor) as tx:
        again = tx.execute(
            update(events)
            .where(events.c.id.in_(ids), _verdict_is(Verdict.FAILED))
            .values(verdict=Verdict.RECEIVED, attempts=0, retry_at=None)
            .returning(events.c.id)
        ).scalars()
        moved = sorted(again)
        if moved:
            audit.record(tx, actor, "event.replay", str(moved[0]) if len(moved) == 1 else None, ids=moved)
            tx.execute(text("select pg_notify('inbox', '')"))
    return len(moved)


def count_failed(actor: Actor, wanted: Filter) -> int:
    """How many events of `wanted` have failed. Raises Forbidden."""
    _staff(actor)
    if wanted.verdict not in (None, Verdict.FAILED):
        return 0
    with transaction(actor) as tx:
        return int(tx.execute(select(func.count()).select_from(events).where(*_failed(tx, wanted))).scalar_one())


def replay_matching(actor: Actor, wanted: Filter) -> Iterator[Progress]:
    """Send every failed event of `wanted` round again, oldest first, 500 a transaction. Raises Forbidden."""
    total, done, last = count_failed(actor, wanted), 0, 0
    yield Progress(done, total)
    while total and (ids := _failed_after(actor, wanted, last)):
        done, last = done + replay(actor, ids), ids[-1]
        yield Progress(done, max(total, done))


def dry_run(actor: Actor, ids: Sequence[int], seconds: float = TRIAL_SECONDS) -> list[Trial]:
    """What processing these events (up to 50) would change now, each by itself, newest first; nothing changes.

    Asks the worker and waits up to `seconds`; an event that is gone already is left out. Raises Forbidden,
    InvalidInput, NotFound where all are gone, WorkerAway.
    """
    _staff(actor)
    if len(ids) > PAGE_SIZE:
        raise InvalidInput(f"{len(ids)} events at once")
    asked = _ask(actor, ids)
    if not asked:
        raise NotFound(f"events {ids}")
    deadline = time.monotonic() + seconds
    while len(answers := _answers(actor, asked)) < len(asked):
        if time.monotonic() > deadline:
            raise WorkerAway(f"trial of events {ids}")
        time.sleep(TRIAL_POLL_SECONDS)
    return answers


def answer_trials() -> int:
    """The worker's part of `dry_run`: try out what was asked, roll it back, write the answer. Returns how many."""
    with transaction(SYSTEM) as tx:
        asked = tx.execute(
            select(event_trials.c.id.label("trial_id"), events)
            .join_from(event_trials, events, events.c.id == event_trials.c.event_id)
            .where(event_trials.c.answer.is_(None))
            .order_by(event_trials.c.asked_at)
            .limit(TRIALS_AT_ONCE)
            .with_for_update(skip_locked=True, of=event_trials)
        ).all()
        for row in asked:
            answer = _try_out(tx, row)
            tx.execute(update(event_trials).where(event_trials.c.id == row.trial_id).values(answer=answer))
        if asked:
            tx.execute(delete(event_trials).where(event_trials.c.asked_at < func.now() - TRIALS_KEPT))
    return len(asked)


def _ask(actor: Actor, ids: Sequence[int]) -> list[UUID]:
    wanted = select(events.c.id, bindparam("asker", type_=Uuid)).where(events.c.id.in_(ids))
    statement = insert(event_trials).from_select(["event_id", "actor_id"], wanted).returning(event_trials.c.id)
    try:
        with transaction(actor) as tx:
            asked = list(tx.execute(statement, {"asker": actor.user_id}).scalars())
            tx.execute(text("select pg_notify('trials', '')"))
    except IntegrityError as error:
        # A clean-up deleted one between our look at it and our row for it.
        raise NotFound(f"events {ids}") from error
    return asked


def _try_out(tx: Connection, row: Record) -> dict[str, Any]:
    """Rolling back takes the rows' locks and the notifications with it."""
    before = _snapshot(tx, row)
    undone = tx.begin_nested()
    try:
        result = inbox.handle(tx, row)
        after = _snapshot(tx, row)
    finally:
        undone.rollback()
    changes = [] if result.error else _changes(before, after)
    return {"verdict": Verdict.FAILED if result.error else result.verdict, "changes": changes, "error": result.error}


def _snapshot(tx: Connection, row: Record) -> dict[str, dict[str, Any]]:
    """Everything that an event can move and staff may see: its session's row, for a message that there is one, and for
    an acknowledgement its message or what is parked for it."""
    found: dict[str, dict[str, Any]] = {}
    session = tx.execute(select(sessions).where(sessions.c.session_id == row.session)).one_or_none()
    if session is None:
        return found
    found["session"] = dict(session._mapping)
    event = webhook.parse(files.parsed(row.body))
    if isinstance(event, webhook.InboundMessage):
        # Whose it is and what it says is not for staff: that it would be there.
        shown = messages.c.direction, messages.c.kind, messages.c.state
        if (one := tx.execute(select(*shown).where(*_of(messages, session.id, event.id))).one_or_none()) is not None:
            found["message"] = dict(one._mapping)
    elif isinstance(event, webhook.Ack):
        for name, table in (("message", messages), ("parked_ack", parked_acks)):
            if (one := tx.execute(select(table).where(*_of(table, session.id, event.message_id))).first()) is not None:
                found[name] = dict(one._mapping)
    return found


def _of(table: Table, session_id: UUID, wpp_id: str) -> tuple[ColumnElement[bool], ...]:
    """The rows of one WhatsApp message, under whichever of its names."""
    named = func.app.message_key(table.c.wpp_id) == webhook.message_key(wpp_id)
    return table.c.session_id == session_id, table.c.wpp_id.is_not(None), named


def _changes(before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    changes = []
    for where in sorted(before.keys() | after.keys()):
        old, new = before.get(where, {}), after.get(where, {})
        for field in [*old, *(key for key in new if key not in old)]:
            if old.get(field) != new.get(field) and field not in _SILENT:
                values = {"before": _told(field, old.get(field)), "after": _told(field, new.get(field))}
                changes.append({"where": where, "field": field, **values})
    return changes


def _told(field: str, value: Any) -> str | None:
    if value is None:
        return None
    if field in _PRIVATE:
        return HIDDEN
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _answers(actor: Actor, asked: Sequence[UUID]) -> list[Trial]:
    statement = (
        select(event_trials.c.event_id, event_trials.c.answer)
        .where(event_trials.c.id.in_(asked), event_trials.c.answer.is_not(None))
        .order_by(event_trials.c.event_id.desc())
    )
    with transaction(actor) as tx:
        rows = tx.execute(statement).all()
    return [
        Trial(
            row.event_id,
            Verdict(row.answer["verdict"]),
            [Change(**change) for change in row.answer["changes"]],
            row.answer["error"],
        )
        for row in rows
    ]


def _failed_after(actor: Actor, wanted: Filter, last: int) -> list[int]:
    with transaction(actor) as tx:
        statement = select(events.c.id).where(*_failed(tx, wanted), events.c.id > last)
        return list(tx.execute(statement.order_by(events.c.id).limit(REPLAY_ROWS)).scalars())


# --- statements and rows ----------------------------------------------------------------------------------------------


def _verdict_is(verdict: Verdict) -> ColumnElement[bool]:
    """A literal, not a parameter: a partial index serves only a statement that names its condition."""
    return events.c.verdict == literal_column(f"'{verdict.value}'")


def _waiting() -> ColumnElement[bool]:
    return _verdict_is(Verdict.RECEIVED)


def _done() -> ColumnElement[bool]:
    return events.c.verdict != literal_column(f"'{Verdict.RECEIVED.value}'")


_SMALL_BODY = case((func.octet_length(events.c.body) <= SHAPE_BYTES, events.c.body)).label("small_body")
_COLUMNS = (
    events.c.id,
    events.c.received_at,
    events.c.session,
    directory.c.email,
    events.c.kind,
    events.c.verdict,
    events.c.attempts,
    events.c.handled_at,
    events.c.error,
    func.octet_length(events.c.body).label("size"),
)
_KINDS = text(
    """
    with recursive k as (
      (select kind from events where verdict <> 'received' order by kind limit 1)
      union all
      select (select e.kind from events e where e.verdict <> 'received' and e.kind > k.kind order by e.kind limit 1)
        from k where k.kind is not null
    ) select kind from k where kind is not null limit :most
    """
)


def _with_people() -> Join:
    return events.outerjoin(directory, cast("user_" + cast(directory.c.user_id, String), String) == events.c.session)


def _rows(tx: Connection, ids: Sequence[int]) -> list[Event]:
    statement = select(*_COLUMNS).select_from(_with_people()).where(events.c.id.in_(ids))
    return [_event(row) for row in tx.execute(statement.order_by(events.c.id.desc()))]


def _listed(
    tx: Connection, wanted: Filter, names: Sequence[str] | None, before: int | None, limit: int = PAGE_SIZE + 1
) -> Select[int]:
    """The statement that finds a page's ids, and one more."""
    conditions = _conditions(wanted, names)
    if before is not None:
        conditions.append(events.c.id < before)
    oldest = _first_within(tx, wanted.within) if wanted.within is not None else None
    return _chosen(conditions, wanted.verdict, oldest, limit)


def _chosen(
    conditions: Sequence[ColumnElement[bool]], verdict: Verdict | None, oldest: int | None, limit: int
) -> Select[int]:
    """The newest ids, found through an index each for what waits and what is done, the latter none older than
    `oldest`."""
    floor = [events.c.id >= oldest] if oldest is not None else []
    branches = []
    if verdict is not Verdict.RECEIVED:
        branches.append(_newest([*conditions, *floor, _verdict_is(verdict) if verdict else _done()], limit))
    if verdict in (None, Verdict.RECEIVED):
        branches.append(_newest([*conditions, _waiting()], limit))
    both = union_all(*(select(one.subquery().c.id) for one in branches)).subquery()
    return select(both.c.id).order_by(both.c.id.desc()).limit(limit)


def _newest(conditions: Sequence[ColumnElement[bool]], limit: int) -> Select[int]:
    return select(events.c.id).where(*conditions).order_by(events.c.id.desc()).limit(limit)


def _first_within(tx: Connection, within: timedelta) -> int:
    """An id below which nothing that is done is as young as `within`: where a walk back through the ids may end."""
    first = tx.execute(_first_statement(within)).scalar_one_or_none()
    return NO_ID if first is None else first - DISORDER


def _first_statement(within: timedelta) -> Select[int]:
    recent = select(events.c.id).where(_done(), events.c.received_at > func.now() - within)
    return recent.order_by(events.c.received_at).limit(1)


def _conditions(wanted: Filter, names: Sequence[str] | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if names is not None:
        conditions.append(events.c.session.in_(names[:NAMES_USED]))
    if wanted.kind is not None:
        conditions.append(events.c.kind == wanted.kind)
    if wanted.within is not None:
        conditions.append(events.c.received_at > func.now() - wanted.within)
    return conditions


def _failed(tx: Connection, wanted: Filter) -> list[ColumnElement[bool]]:
    return [*_conditions(wanted, _sessions_named(tx, wanted)), _verdict_is(Verdict.FAILED)]


def _sessions_named(tx: Connection, wanted: Filter) -> list[str] | None:
    """Session names that a search means: its own text, and those of the people whom it finds, at most one too many;
    None where nothing is searched for."""
    search = wanted.session.strip()
    if not search:
        return None
    part = containing(search)
    people = select(directory.c.user_id).where(or_(directory.c.email.ilike(part), directory.c.name.ilike(part)))
    found = tx.execute(people.order_by(directory.c.email).limit(NAMES_USED)).scalars()
    return [search, *(f"user_{user_id}" for user_id in found)]


def _seconds(interval: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.extract("epoch", interval)


def _by_minute(which: ColumnElement[bool], waited: ColumnElement[Any]) -> Select[Any]:
    minute = func.date_trunc("minute", events.c.received_at).label("at")
    return (
        select(minute, events.c.verdict, func.count().label("n"), func.max(waited).label("waited"))
        .where(which, events.c.received_at > func.now() - RATE_PERIOD)
        .group_by(minute, events.c.verdict)
    )


def _staff(actor: Actor) -> None:
    if not actor.is_staff:
        raise Forbidden("events")


def _event(row: Record) -> Event:
    return Event(
        id=row.id,
        received_at=row.received_at,
        session=row.session,
        email=row.email,
        kind=row.kind,
        verdict=Verdict(row.verdict),
        attempts=row.attempts,
        handled_at=row.handled_at,
        error=row.error,
        size=row.size,
    )


def _fields(value: Any, path: str, depth: int = 0) -> Iterator[Field]:
    if depth > SHAPE_DEPTH:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            # A key may be a number of somebody, too.
            name = key if _KEY.fullmatch(key) and not re.search(r"[0-9]{6}", key) else HIDDEN
            yield from _fields(inner, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        yield Field(path, f"list[{len(value)}]", "")
        if value:
            yield from _fields(value[0], f"{path}[]", depth + 1)
    else:
        yield Field(path, _type(value), _open_value(path, value))


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return f"text[{len(value)}]" if isinstance(value, str) else "number"


def _open_value(path: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if path not in OPEN_KEYS:
        return HIDDEN
    if isinstance(value, int) and abs(value) < 100:
        return str(value)
    return value if isinstance(value, str) and _WORD.fullmatch(value) else HIDDEN
