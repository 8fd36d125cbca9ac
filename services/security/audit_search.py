"""The search in the audit log and the security events, for staff: pages, and export as CSV."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, fields
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, or_, select, text, tuple_

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.like import contains_pattern
from services.db.rows import read_row
from services.db.tables.accounts import directory
from services.db.tables.base import Record
from services.db.tables.security import audit_log, security_events
from services.platform.csv_export import Cell, csv_line
from services.security.audit_log import record

PAGE_SIZE = 50
# What one export holds at most, newest first; also how far a filter's rows are counted.
MAX_EXPORT_ROWS = 50_000
EXPORT_BATCH_SIZE = 5_000
# A part of an e-mail stands for at most this many people.
MAX_PEOPLE = 100
# Each different value with one look into the index, however many rows there are.
_SELECT_KINDS = """
with recursive k (kind) as (
  (select {kind} from public.{table} order by {kind} limit 1)
  union all
  select (select {kind} from public.{table} where {kind} > k.kind order by {kind} limit 1) from k
   where k.kind is not null
) select kind from k where kind is not null
"""

# Which of the two records is looked at.
LogName = Literal["actions", "security"]
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
class ResultPage(Generic[T]):
    """One page; `total` counts what the filter admits, up to MAX_EXPORT_ROWS, and `more` says that there is more."""

    rows: list[T]
    total: int
    more: bool


def search_actions(actor: Actor, wanted: Filter, page: int = 1) -> ResultPage[Action]:
    """One page (50 records) of the audit log, newest first.

    Raises: Forbidden for anybody but staff.
    """
    rows, total = _read_page(actor, audit_log, wanted, page)
    return ResultPage(_actions(rows), min(total, MAX_EXPORT_ROWS), total > MAX_EXPORT_ROWS)


def search_security_events(actor: Actor, wanted: Filter, page: int = 1) -> ResultPage[SecurityEvent]:
    """One page (50 events) of the security events, newest first.

    Raises: Forbidden for anybody but staff.
    """
    rows, total = _read_page(actor, security_events, wanted, page)
    return ResultPage(_security_events(rows), min(total, MAX_EXPORT_ROWS), total > MAX_EXPORT_ROWS)


def list_kinds(actor: Actor, which: LogName) -> list[str]:
    """Every action, or every kind of security event, that there is.

    Raises: Forbidden for anybody but staff.
    """
    actor.require_staff("audit")
    table = _table(which)
    query = text(_SELECT_KINDS.format(table=table.name, kind=_kind_column(table).name))
    with transaction(actor) as tx:
        return [row.kind for row in tx.execute(query)]


def export_csv(actor: Actor, wanted: Filter, which: LogName) -> Iterator[str]:
    """What the filter shows as CSV, line by line, newest first and at most MAX_EXPORT_ROWS of them; moments in UTC.

    For spreadsheets: `;` between cells, each quoted, and none that a spreadsheet would take for a formula. The export
    itself goes into the audit log.

    Raises: Forbidden for anybody but staff.
    """
    actor.require_staff("audit")
    with transaction(actor) as tx:
        given = {name: value for name, value in asdict(wanted).items() if value}
        record(tx, actor, "audit.export", which, **given)
    yield csv_line(field.name for field in fields(Action if which == "actions" else SecurityEvent))
    left, last = MAX_EXPORT_ROWS, None
    while left > 0 and (batch := _read_batch(actor, _table(which), wanted, last, min(left, EXPORT_BATCH_SIZE))):
        rows: list[Any] = _actions(batch) if which == "actions" else _security_events(batch)
        yield from (csv_line(_cells(row)) for row in rows)
        left, last = left - len(batch), batch[-1][0]


# A record with the e-mails of the people whom it names.
_RowWithEmails = tuple[Record, dict[UUID, str]]


def _read_page(actor: Actor, table: Table, wanted: Filter, page: int) -> tuple[list[_RowWithEmails], int]:
    actor.require_staff("audit")
    with transaction(actor) as tx:
        chosen = _select_filtered(tx, table, wanted)
        counted = chosen.with_only_columns(table.c.occurred_at).limit(MAX_EXPORT_ROWS + 1).subquery()
        total: int = tx.execute(select(func.count()).select_from(counted)).scalar_one()
        rows = tx.execute(newest_first(chosen, table).limit(PAGE_SIZE).offset((page - 1) * PAGE_SIZE)).all()
        emails = _emails_of_rows(tx, rows)
    return [(row, emails) for row in rows], total


def _read_batch(actor: Actor, table: Table, wanted: Filter, last: Record | None, limit: int) -> list[_RowWithEmails]:
    with transaction(actor) as tx:
        chosen = _select_filtered(tx, table, wanted)
        if last is not None:
            key = _id_column(table)
            chosen = chosen.where(tuple_(table.c.occurred_at, key) < tuple_(last.occurred_at, last._mapping[key.name]))
        rows = tx.execute(newest_first(chosen, table).limit(limit)).all()
        emails = _emails_of_rows(tx, rows)
    return [(row, emails) for row in rows]


def newest_first(chosen: Select[Any], table: Table) -> Select[Any]:
    """`chosen` in the order in which every index of `table` has it."""
    return chosen.order_by(table.c.occurred_at.desc(), _id_column(table).desc())


def _select_filtered(tx: Connection, table: Table, wanted: Filter) -> Select[Any]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.actor.strip():
        conditions.append(table.c.actor_id.in_(_find_people(tx, wanted.actor)))
    if wanted.kind:
        conditions.append(_kind_column(table) == wanted.kind)
    if subject := wanted.subject.strip().replace("\0", ""):
        people = [str(one) for one in _find_people(tx, subject)]
        conditions.append(table.c.subject.in_([subject, *people, *(f"user_{one}" for one in people)]))
    if wanted.since is not None:
        conditions.append(table.c.occurred_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(table.c.occurred_at < wanted.until)
    return select(table).where(and_(True, *conditions))


def _find_people(tx: Connection, typed: str) -> list[UUID]:
    part = contains_pattern(typed)
    named = or_(directory.c.email.ilike(part), directory.c.name.ilike(part))
    return list(tx.execute(select(directory.c.user_id).where(named).limit(MAX_PEOPLE)).scalars())


def _emails_of_rows(tx: Connection, rows: Iterable[Record]) -> dict[UUID, str]:
    ids = {one for row in rows for one in (row.actor_id, _user_id_of_subject(row.subject)) if one is not None}
    people = select(directory.c.user_id, directory.c.email).where(directory.c.user_id.in_(ids))
    return {row.user_id: row.email for row in tx.execute(people)} if ids else {}


def _user_id_of_subject(subject: str | None) -> UUID | None:
    """Whom a subject names: people and sessions are called by the person's id."""
    try:
        return UUID((subject or "").removeprefix("user_"))
    except ValueError:
        return None


def _actions(found: list[_RowWithEmails]) -> list[Action]:
    return [
        read_row(
            Action,
            row,
            at=row.occurred_at,
            actor=_email_or_id(emails, row.actor_id),
            role=row.actor_role,
            subject_email=emails.get(_user_id_of_subject(row.subject) or UUID(int=0)),
            detail=_detail_text(row.detail),
            hash=row.hash.hex(),
        )
        for row, emails in found
    ]


def _security_events(found: list[_RowWithEmails]) -> list[SecurityEvent]:
    return [
        read_row(
            SecurityEvent,
            row,
            at=row.occurred_at,
            subject_email=emails.get(_user_id_of_subject(row.subject) or UUID(int=0)),
            actor=_email_or_id(emails, row.actor_id),
            detail=_detail_text(row.detail),
        )
        for row, emails in found
    ]


def _email_or_id(emails: dict[UUID, str], user_id: UUID | None) -> str | None:
    """Somebody who is gone keeps their id."""
    return None if user_id is None else emails.get(user_id, str(user_id))


def _detail_text(detail: dict[str, Any]) -> str:
    return json.dumps(detail, ensure_ascii=False, sort_keys=True) if detail else ""


def _table(which: LogName) -> Table:
    return audit_log if which == "actions" else security_events


def _kind_column(table: Table) -> ColumnElement[Any]:
    return table.c.action if table is audit_log else table.c.kind


def _id_column(table: Table) -> ColumnElement[Any]:
    return table.c.seq if table is audit_log else table.c.id


def _cells(row: Action | SecurityEvent) -> Iterator[Cell]:
    for value in astuple(row):
        yield value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else value
