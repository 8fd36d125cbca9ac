"""All sessions as staff see them: counts now and over the last day, and a list of every user and their session.

The list is paged and sorted in SQL.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Select, func, or_, select

from services import settings
from services.db import queries
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.like import contains_pattern
from services.db.rows import read_object, read_row
from services.db.tables.accounts import directory
from services.db.tables.base import Record
from services.db.tables.fleet import fleet_samples, sessions
from services.db.tables.fleet import incidents as incident_rows
from services.fleet.incidents import Kind
from services.fleet.session import Status, server_holds

_QUERIES = queries.load(__file__)

PAGE_SIZE = 50

SortColumn = Literal["email", "status", "last_proof_at", "last_activity"]


class SessionFilter(StrEnum):
    """Which sessions: those of one status, or those that somebody should look at."""

    CONNECTED = "conectado"
    PAIRING = "pareando"
    DISCONNECTED = "desconectado"
    UNPROVEN = "unproven"  # said to be connected, not proved although its next question had its turn
    TROUBLED = "troubled"  # with an open incident


@dataclass(frozen=True)
class StatusCounts:
    """How many sessions are in each state; `unproven` and `silent` are among the connected ones."""

    connected: int
    pairing: int
    disconnected: int
    unproven: int
    silent: int


@dataclass(frozen=True)
class Sample:
    """The figures at one moment of the past."""

    at: datetime
    figures: StatusCounts


@dataclass(frozen=True)
class FleetRow:
    """One user and their session: never a QR or a pairing code. `server` is its number, None for an unknown one.

    `unread`: messages that nobody has looked at yet.
    """

    user_id: UUID
    email: str
    name: str
    status: Status | None
    reported_state: str | None
    last_proof_at: datetime | None
    last_proof_kind: str | None
    last_activity: datetime | None
    server: int | None
    phone_number: str | None
    device_name: str | None
    failure: str | None
    incident: Kind | None
    unread: int

    @property
    def server_holds(self) -> bool:
        """As `session.server_holds`."""
        return self.status is not None and server_holds(
            self.status, self.reported_state, self.phone_number, self.failure
        )


@dataclass(frozen=True)
class FleetPage:
    """One page of the fleet; `total` counts every row that the filter admits."""

    rows: list[FleetRow]
    total: int


def get_counts(actor: Actor) -> StatusCounts:
    """The fleet now, as far as the actor may see it."""
    with transaction(actor) as tx:
        row = tx.execute(_COUNT_BY_STATUS, {"unproven": _unproven_after().total_seconds()}).one()
    return read_row(StatusCounts, row)


def list_samples(actor: Actor, since: timedelta = timedelta(hours=24)) -> list[Sample]:
    """What the worker wrote down, oldest first. Empty for whoever is no staff."""
    with transaction(actor) as tx:
        found = (
            select(fleet_samples)
            .where(fleet_samples.c.sampled_at > func.now() - since)
            .order_by(fleet_samples.c.sampled_at)
        )
        rows = tx.execute(found).all()
    return [_build_sample(row) for row in rows]


def list_rows(
    actor: Actor,
    *,
    search: str = "",
    show: SessionFilter | None = None,
    server: int | None = None,
    order: SortColumn = "email",
    descending: bool = False,
    page: int = 1,
) -> FleetPage:
    """One page (50 rows) of every user and their session, for staff.

    `search` finds a part of the e-mail, the name or the number; `server` is a server's number.

    Raises: Forbidden for anybody else.
    """
    actor.require_staff("fleet")
    admitted = [or_(directory.c.role == "user", sessions.c.id.is_not(None))]
    if search.strip():
        pattern = contains_pattern(search)
        columns = (directory.c.email, directory.c.name, sessions.c.phone_number)
        admitted.append(or_(*(column.ilike(pattern) for column in columns)))
    if show is not None:
        admitted.append(_condition(show))
    if server is not None:
        admitted.append(sessions.c.server_url == list(settings.get().wppconnect.servers())[server - 1])
    key = directory.c.email if order == "email" else sessions.c[order]
    # First who is on the page, by narrow rows: else the whole fleet is sorted and counted with every column.
    narrow = (
        select(directory.c.user_id, key.label("key"))
        .select_from(_users_with_sessions())
        .where(*admitted)
        .cte("admitted")
    )
    counted = select(func.count()).select_from(narrow).scalar_subquery()
    places = select(narrow.c.user_id, counted.label("total")).order_by(
        (narrow.c.key.desc() if descending else narrow.c.key.asc()).nulls_last(), narrow.c.user_id
    )
    with transaction(actor) as tx:
        shown = tx.execute(places.limit(PAGE_SIZE).offset((page - 1) * PAGE_SIZE)).all()
        ids = [row.user_id for row in shown]
        found = {row.user_id: row for row in tx.execute(_select_rows().where(directory.c.user_id.in_(ids)))}
    return FleetPage(
        [_build_fleet_row(found[user_id]) for user_id in ids if user_id in found], shown[0].total if shown else 0
    )


def get_row(actor: Actor, user_id: UUID) -> FleetRow | None:
    """One user and their session, for staff; None for nobody.

    Raises: Forbidden for anybody else.
    """
    actor.require_staff("fleet")
    with transaction(actor) as tx:
        row = tx.execute(_select_rows().where(directory.c.user_id == user_id)).one_or_none()
    return _build_fleet_row(row) if row else None


def _users_with_sessions() -> FromClause:
    return directory.outerjoin(sessions, sessions.c.user_id == directory.c.user_id)


def _select_rows() -> Select[Any]:
    texts = (func.coalesce(column, "").label(column.name) for column in (directory.c.email, directory.c.name))
    return select(directory.c.user_id, *texts, *_COLUMNS, _newest_incident(), _UNREAD).select_from(
        _users_with_sessions()
    )


def _condition(show: SessionFilter) -> ColumnElement[bool]:
    if show is SessionFilter.TROUBLED:
        return _open_incidents().exists()
    if show is SessionFilter.UNPROVEN:
        stale = func.coalesce(sessions.c.last_proof_at < func.now() - _unproven_after(), True)
        return (sessions.c.status == Status.CONNECTED) & stale
    return func.coalesce(sessions.c.status, Status.DISCONNECTED) == show.value


def _open_incidents() -> Select[tuple[Any]]:
    return select(incident_rows.c.kind).where(
        incident_rows.c.session_id == sessions.c.id, incident_rows.c.ended_at.is_(None)
    )


def _newest_incident() -> ColumnElement[Any]:
    return _open_incidents().order_by(incident_rows.c.id.desc()).limit(1).scalar_subquery().label("incident")


def _unproven_after() -> timedelta:
    return timedelta(seconds=settings.get().health.max_proof_age_seconds)


_COLUMNS = (
    sessions.c.status,
    sessions.c.reported_state,
    sessions.c.last_proof_at,
    sessions.c.last_proof_kind,
    sessions.c.last_activity,
    sessions.c.server_url,
    sessions.c.phone_number,
    sessions.c.device_name,
    sessions.c.failure,
)
# A count, not a chat: staff have no way in to whose messages they are.
_UNREAD = func.app.count_unread(sessions.c.id).label("unread")
_COUNT_BY_STATUS = _QUERIES["count_by_status"]


def _build_sample(row: Record) -> Sample:
    figures = row.figures
    counts = read_object(
        StatusCounts,
        figures,
        connected=figures["conectado"],
        pairing=figures["pareando"],
        disconnected=figures["desconectado"],
    )
    return Sample(at=row.sampled_at, figures=counts)


def _build_fleet_row(row: Record) -> FleetRow:
    return read_row(FleetRow, row, server=settings.get().wppconnect.server_number(row.server_url))
