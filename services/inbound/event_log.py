"""The log of received events, for staff: a filtered list, page by page, and the detail of one event."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import (
    ColumnElement,
    Connection,
    Join,
    Select,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.types import String

from services.db import queries
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.like import contains_pattern
from services.db.rows import read_row, read_rows
from services.db.tables.accounts import directory
from services.db.tables.inbound import events
from services.errors import NotFound
from services.inbound import event_writer
from services.inbound.event_shape import SHAPE_BYTES, BodyField, Unreadable, describe_body, explain_unreadable

_QUERIES = queries.load(__file__)

PAGE_SIZE = 50
# People whom a search may mean at once; whoever finds more has to type more.
MAX_PEOPLE = 200
# With the search's own text, which may be a session's name.
MAX_NAMES = MAX_PEOPLE + 1
MAX_KINDS = 100
# Ids and times are drawn row by row, but writers work side by side: their orders differ by what these have under way.
MAX_DISORDER = event_writer.BATCH_ROWS * event_writer.WRITERS
# Greater than any id: the greatest bigint.
NO_ID = 2**63 - 1


class Verdict(StrEnum):
    """What became of a delivery."""

    RECEIVED = "received"  # stored; waits for the worker
    HANDLED = "handled"  # it moved what it was evidence for
    UNSUPPORTED = "unsupported"  # kept; nothing is done with its kind
    DUPLICATE = "duplicate"  # came a second time
    FAILED = "failed"  # handling it failed each time; may be replayed
    INVALID = "invalid"  # no JSON object


@dataclass(frozen=True)
class EventFilter:
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
class EventDetail:
    """One event. `shape` is empty where the body is no JSON object, or a file; `unreadable` says why it is none."""

    event: Event
    request_id: str
    current_secret: bool
    shape: list[BodyField]
    unreadable: Unreadable | None


def list_events(actor: Actor, wanted: EventFilter | None = None, before: int | None = None) -> EventPage:
    """One page (50 events) of those `wanted`, newest first, older than the id `before`.

    Raises: Forbidden.
    """
    actor.require_staff("events")
    with transaction(actor) as tx:
        names = _find_session_names(tx, wanted) if wanted else None
        found = _read_events(tx, tx.execute(_select_page(tx, wanted or EventFilter(), names, before)).scalars().all())
    older = found[PAGE_SIZE - 1].id if len(found) > PAGE_SIZE else None
    return EventPage(found[:PAGE_SIZE], older, too_many=len(names or ()) > MAX_NAMES)


def get_events(actor: Actor, ids: Sequence[int]) -> list[Event]:
    """These events as they are now, newest first, without those that are gone.

    Raises: Forbidden.
    """
    actor.require_staff("events")
    with transaction(actor) as tx:
        return _read_events(tx, ids)


def list_kinds(actor: Actor) -> list[str]:
    """The kinds of event (up to 100) that were handled so far.

    Jumps through the index from one kind to the next, because reading every row for a handful of words would be absurd.

    Raises: Forbidden.
    """
    actor.require_staff("events")
    with transaction(actor) as tx:
        return list(tx.execute(_KINDS, {"most": MAX_KINDS}).scalars())


def get_event(actor: Actor, event_id: int) -> EventDetail:
    """One event with the shape of its body.

    Raises: Forbidden, NotFound.
    """
    actor.require_staff("events")
    with transaction(actor) as tx:
        row = tx.execute(
            select(*_COLUMNS, events.c.request_id, events.c.current_secret, _SMALL_BODY)
            .select_from(_with_people())
            .where(events.c.id == event_id)
        ).one_or_none()
    if row is None:
        raise NotFound(f"event {event_id}")
    return read_row(
        EventDetail,
        row,
        event=read_row(Event, row),
        request_id=row.request_id.hex,
        shape=describe_body(row.small_body),
        unreadable=explain_unreadable(row.small_body)
        if row.verdict == Verdict.INVALID and row.small_body is not None
        else None,
    )


def has_verdict(verdict: Verdict) -> ColumnElement[bool]:
    """A literal, not a parameter: a partial index serves only a statement that names its condition."""
    return events.c.verdict == literal_column(f"'{verdict.value}'")


def is_waiting() -> ColumnElement[bool]:
    """The condition for events that wait to be processed."""
    return has_verdict(Verdict.RECEIVED)


def is_done() -> ColumnElement[bool]:
    """The condition for events that do not wait any longer; it is a literal, as in `has_verdict`."""
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
_KINDS = _QUERIES["kinds"]


def _with_people() -> Join:
    return events.outerjoin(directory, cast("user_" + cast(directory.c.user_id, String), String) == events.c.session)


def _read_events(tx: Connection, ids: Sequence[int]) -> list[Event]:
    statement = select(*_COLUMNS).select_from(_with_people()).where(events.c.id.in_(ids))
    return read_rows(Event, tx.execute(statement.order_by(events.c.id.desc())))


def _select_page(
    tx: Connection, wanted: EventFilter, names: Sequence[str] | None, before: int | None, limit: int = PAGE_SIZE + 1
) -> Select[int]:
    """The statement that finds a page's ids, and one more."""
    conditions = _conditions(wanted, names)
    if before is not None:
        conditions.append(events.c.id < before)
    oldest = _first_id_within(tx, wanted.within) if wanted.within is not None else None
    return _select_ids(conditions, wanted.verdict, oldest, limit)


def _select_ids(
    conditions: Sequence[ColumnElement[bool]], verdict: Verdict | None, oldest: int | None, limit: int
) -> Select[int]:
    """The newest ids, found through an index each for what waits and what is done, the latter none older than
    `oldest`."""
    floor = [events.c.id >= oldest] if oldest is not None else []
    branches = []
    if verdict is not Verdict.RECEIVED:
        branches.append(_select_newest([*conditions, *floor, has_verdict(verdict) if verdict else is_done()], limit))
    if verdict in (None, Verdict.RECEIVED):
        branches.append(_select_newest([*conditions, is_waiting()], limit))
    both = union_all(*(select(one.subquery().c.id) for one in branches)).subquery()
    return select(both.c.id).order_by(both.c.id.desc()).limit(limit)


def _select_newest(conditions: Sequence[ColumnElement[bool]], limit: int) -> Select[int]:
    return select(events.c.id).where(*conditions).order_by(events.c.id.desc()).limit(limit)


def _first_id_within(tx: Connection, within: timedelta) -> int:
    """An id below which nothing that is done is as young as `within`: where a walk back through the ids may end."""
    first = tx.execute(_select_first_within(within)).scalar_one_or_none()
    return NO_ID if first is None else first - MAX_DISORDER


def _select_first_within(within: timedelta) -> Select[int]:
    recent = select(events.c.id).where(is_done(), events.c.received_at > func.now() - within)
    return recent.order_by(events.c.received_at).limit(1)


def _conditions(wanted: EventFilter, names: Sequence[str] | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if names is not None:
        conditions.append(events.c.session.in_(names[:MAX_NAMES]))
    if wanted.kind is not None:
        conditions.append(events.c.kind == wanted.kind)
    if wanted.within is not None:
        conditions.append(events.c.received_at > func.now() - wanted.within)
    return conditions


def failed_conditions(tx: Connection, wanted: EventFilter) -> list[ColumnElement[bool]]:
    """The conditions for the failed events that fit a filter, whatever verdict the filter names."""
    return [*_conditions(wanted, _find_session_names(tx, wanted)), has_verdict(Verdict.FAILED)]


def _find_session_names(tx: Connection, wanted: EventFilter) -> list[str] | None:
    """Session names that a search means: its own text, and those of the people whom it finds, at most one too many;
    None where nothing is searched for."""
    search = wanted.session.strip()
    if not search:
        return None
    part = contains_pattern(search)
    people = select(directory.c.user_id).where(or_(directory.c.email.ilike(part), directory.c.name.ilike(part)))
    found = tx.execute(people.order_by(directory.c.email).limit(MAX_NAMES)).scalars()
    return [search, *(f"user_{user_id}" for user_id in found)]
