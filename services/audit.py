"""Who did what (`audit_log`, the chain that `services.chain` proves), and what looked like attacks (`security_events`).

Both are written inside the caller's own transaction: an act and its record are committed together or not at all. The
policies of migration 0002 let a person write only in their own name and the system only in nobody's; the triggers of
migration 0018 let nobody change what is written.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, fields
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, or_, select, text, tuple_

from services import export as export_files
from services import log
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.models import Record, audit_log, directory, security_events
from services.db.search import containing
from services.errors import Forbidden

PAGE_SIZE = 50
# What one export holds at most, newest first; also how far a filter's rows are counted.
EXPORT_ROWS = 50_000
EXPORT_BATCH = 5_000
# A part of an e-mail stands for at most this many people.
PEOPLE = 100

_RECORD = text(
    "insert into public.audit_log (actor_id, actor_role, action, subject, detail, request_id)"
    " values (:actor_id, :actor_role, :action, :subject, cast(:detail as jsonb), :request_id)"
)
_SECURITY_EVENT = text(
    "insert into public.security_events (kind, subject, ip, detail, request_id, actor_id)"
    " values (:kind, :subject, :ip, cast(:detail as jsonb), :request_id, auth.uid())"
)
# Once per kind, subject, person and minute: migration 0018 has the index.
_REFUSED = text(f"{_SECURITY_EVENT.text} on conflict do nothing")
# Each different value with one look into the index, however many rows there are.
_KINDS = """
with recursive k (kind) as (
  (select {kind} from public.{table} order by {kind} limit 1)
  union all
  select (select {kind} from public.{table} where {kind} > k.kind order by {kind} limit 1) from k
   where k.kind is not null
) select kind from k where kind is not null
"""

# Which of the two records is looked at.
Which = Literal["actions", "security"]
T = TypeVar("T")


@dataclass(frozen=True)
class Filter:
    """What is looked for; an empty field admits everything.

    `actor` is a part of an e-mail or name; `kind` an action or a kind of security event; `subject` an id as it is
    stored, or a part of an e-mail or name. `since` is included, `until` is not.
    """

    actor: str = ""
    kind: str = ""
    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Action:
    """One record of the audit log; `seq` is its place in the chain. The e-mails are those of now."""

    at: datetime
    seq: int
    actor: str | None
    role: str
    action: str
    subject: str | None
    subject_email: str | None
    detail: str
    request_id: str | None
    hash: str


@dataclass(frozen=True)
class SecurityEvent:
    """One security event; `actor` is the e-mail of a signed-in person."""

    at: datetime
    id: int
    kind: str
    subject: str | None
    subject_email: str | None
    ip: str | None
    actor: str | None
    detail: str
    request_id: str | None


@dataclass(frozen=True)
class Found(Generic[T]):
    """One page; `total` counts what the filter admits, up to EXPORT_ROWS, and `more` says that there is more."""

    rows: list[T]
    total: int
    more: bool


# --- writing ----------------------------------------------------------------------------------------------------------


def record(tx: Connection, actor: Actor, action: str, subject: str | None, **detail: Any) -> None:
    """Write that `actor` did `action` (as `thing.verb`) to `subject` (an id). Secrets in `detail` are masked.

    The last thing in a transaction: from here to its end every other record waits for it.
    """
    tx.execute(
        _RECORD,
        {
            "actor_id": actor.user_id,
            "actor_role": str(actor.role or actor.kind),
            "action": action,
            "subject": subject,
            "detail": _json(detail),
            "request_id": log.request_id(),
        },
    )


def security_event(tx: Connection, kind: str, subject: str | None, ip: str | None, **detail: Any) -> None:
    """Write a security event; `subject` is an id, never what somebody typed. Secrets in `detail` are masked.

    For people and the system; what happens before sign-in is written by the database's own sign-in functions.
    """
    tx.execute(
        _SECURITY_EVENT,
        {"kind": kind, "subject": subject, "ip": ip, "detail": _json(detail), "request_id": log.request_id()},
    )


def refused(
    actor: Actor, kind: Literal["page_refused", "cross_tenant"], subject: str, ip: str | None = None, **detail: Any
) -> None:
    """Write, in a transaction of its own, that somebody signed in was told no; once per subject and minute."""
    values = {"kind": kind, "subject": subject, "ip": ip, "detail": _json(detail), "request_id": log.request_id()}
    with transaction(actor) as tx:
        tx.execute(_REFUSED, values)


def _json(detail: dict[str, Any]) -> str:
    # PostgreSQL's jsonb refuses the NUL that JSON allows.
    return json.dumps(log.masked(detail), default=str, ensure_ascii=False).replace("\\u0000", "")


# --- reading, for staff -----------------------------------------------------------------------------------------------


def find(actor: Actor, wanted: Filter, page: int = 1) -> Found[Action]:
    """One page (50 records) of the audit log, newest first. Raises Forbidden for anybody but staff."""
    rows, total = _page(actor, audit_log, wanted, page)
    return Found(_actions(rows), min(total, EXPORT_ROWS), total > EXPORT_ROWS)


def find_security(actor: Actor, wanted: Filter, page: int = 1) -> Found[SecurityEvent]:
    """One page (50 events) of the security events, newest first. Raises Forbidden for anybody but staff."""
    rows, total = _page(actor, security_events, wanted, page)
    return Found(_security_events(rows), min(total, EXPORT_ROWS), total > EXPORT_ROWS)


def kinds(actor: Actor, which: Which) -> list[str]:
    """Every action, or every kind of security event, that there is. Raises Forbidden for anybody but staff."""
    _require_staff(actor)
    table = _table(which)
    query = text(_KINDS.format(table=table.name, kind=_kind(table).name))
    with transaction(actor) as tx:
        return [row.kind for row in tx.execute(query)]


def export(actor: Actor, wanted: Filter, which: Which) -> Iterator[str]:
    """What the filter shows as CSV, line by line, newest first and at most EXPORT_ROWS of them; moments in UTC.

    For spreadsheets: `;` between cells, each quoted, and none that a spreadsheet would take for a formula. The export
    itself goes into the audit log. Raises Forbidden for anybody but staff.
    """
    _require_staff(actor)
    with transaction(actor) as tx:
        given = {name: value for name, value in asdict(wanted).items() if value}
        record(tx, actor, "audit.export", which, **given)
    yield export_files.csv_line(field.name for field in fields(Action if which == "actions" else SecurityEvent))
    left, last = EXPORT_ROWS, None
    while left > 0 and (batch := _batch(actor, _table(which), wanted, last, min(left, EXPORT_BATCH))):
        rows: list[Any] = _actions(batch) if which == "actions" else _security_events(batch)
        yield from (export_files.csv_line(_cells(row)) for row in rows)
        left, last = left - len(batch), batch[-1][0]


# A record with the e-mails of the people whom it names.
_Named = tuple[Record, dict[UUID, str]]


def _page(actor: Actor, table: Table, wanted: Filter, page: int) -> tuple[list[_Named], int]:
    _require_staff(actor)
    with transaction(actor) as tx:
        chosen = _chosen(tx, table, wanted)
        counted = chosen.with_only_columns(table.c.at).limit(EXPORT_ROWS + 1).subquery()
        total: int = tx.execute(select(func.count()).select_from(counted)).scalar_one()
        rows = tx.execute(newest(chosen, table).limit(PAGE_SIZE).offset((page - 1) * PAGE_SIZE)).all()
        emails = _emails(tx, rows)
    return [(row, emails) for row in rows], total


def _batch(actor: Actor, table: Table, wanted: Filter, last: Record | None, limit: int) -> list[_Named]:
    with transaction(actor) as tx:
        chosen = _chosen(tx, table, wanted)
        if last is not None:
            key = _key(table)
            chosen = chosen.where(tuple_(table.c.at, key) < tuple_(last.at, last._mapping[key.name]))
        rows = tx.execute(newest(chosen, table).limit(limit)).all()
        emails = _emails(tx, rows)
    return [(row, emails) for row in rows]


def newest(chosen: Select[Any], table: Table) -> Select[Any]:
    """`chosen` in the order in which every index of `table` has it."""
    return chosen.order_by(table.c.at.desc(), _key(table).desc())


def _chosen(tx: Connection, table: Table, wanted: Filter) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.actor.strip():
        conditions.append(table.c.actor_id.in_(_people(tx, wanted.actor)))
    if wanted.kind:
        conditions.append(_kind(table) == wanted.kind)
    if subject := wanted.subject.strip().replace("\0", ""):
        people = [str(one) for one in _people(tx, subject)]
        conditions.append(table.c.subject.in_([subject, *people, *(f"user_{one}" for one in people)]))
    if wanted.since is not None:
        conditions.append(table.c.at >= wanted.since)
    if wanted.until is not None:
        conditions.append(table.c.at < wanted.until)
    return select(table).where(and_(True, *conditions))


def _people(tx: Connection, typed: str) -> list[UUID]:
    part = containing(typed)
    named = or_(directory.c.email.ilike(part), directory.c.name.ilike(part))
    return list(tx.execute(select(directory.c.user_id).where(named).limit(PEOPLE)).scalars())


def _emails(tx: Connection, rows: Iterable[Record]) -> dict[UUID, str]:
    ids = {one for row in rows for one in (row.actor_id, _person(row.subject)) if one is not None}
    people = select(directory.c.user_id, directory.c.email).where(directory.c.user_id.in_(ids))
    return {row.user_id: row.email for row in tx.execute(people)} if ids else {}


def _person(subject: str | None) -> UUID | None:
    """Whom a subject names: people and sessions are called by the person's id."""
    try:
        return UUID((subject or "").removeprefix("user_"))
    except ValueError:
        return None


def _actions(found: list[_Named]) -> list[Action]:
    return [
        Action(
            at=row.at,
            seq=row.seq,
            actor=_email(emails, row.actor_id),
            role=row.actor_role,
            action=row.action,
            subject=row.subject,
            subject_email=emails.get(_person(row.subject) or UUID(int=0)),
            detail=_plain(row.detail),
            request_id=row.request_id,
            hash=row.hash.hex(),
        )
        for row, emails in found
    ]


def _security_events(found: list[_Named]) -> list[SecurityEvent]:
    return [
        SecurityEvent(
            at=row.at,
            id=row.id,
            kind=row.kind,
            subject=row.subject,
            subject_email=emails.get(_person(row.subject) or UUID(int=0)),
            ip=row.ip,
            actor=_email(emails, row.actor_id),
            detail=_plain(row.detail),
            request_id=row.request_id,
        )
        for row, emails in found
    ]


def _email(emails: dict[UUID, str], user_id: UUID | None) -> str | None:
    """Somebody who is gone keeps their id."""
    return None if user_id is None else emails.get(user_id, str(user_id))


def _plain(detail: dict[str, Any]) -> str:
    return json.dumps(detail, ensure_ascii=False, sort_keys=True) if detail else ""


def _table(which: Which) -> Table:
    return audit_log if which == "actions" else security_events


def _kind(table: Table) -> ColumnElement[Any]:
    return table.c.action if table is audit_log else table.c.kind


def _key(table: Table) -> ColumnElement[Any]:
    return table.c.seq if table is audit_log else table.c.id


def _require_staff(actor: Actor) -> None:
    if not actor.is_staff:
        raise Forbidden("audit")


def _cells(row: Action | SecurityEvent) -> Iterator[export_files.Cell]:
    for value in astuple(row):
        yield value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
