"""Relatórios: what a period came to, in the viewer's time zone, from the rollups alone (`services.rollups`).

No look at a report reads a message: figures are sums of quarter hours, medians come from bands of times, and what a
session's timeline says is read from the timeline. Users see their own, staff anybody's and everybody's, never a text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import Connection, Table, select, text
from sqlalchemy.exc import DBAPIError

from services import alerts, settings
from services.db.actor import SYSTEM, Actor, ActorKind
from services.db.engine import transaction
from services.db.models import Record, campaigns, directory, templates
from services.db.search import containing
from services.errors import AlertNotPosted, Forbidden, InvalidInput

PAGE_SIZE = 50
QUARTER = timedelta(minutes=15)
# Beyond this a chart says nothing and a page would wait.
MAX_DAYS = 1100
# Up to this many days the chart has a bar an hour.
HOURLY_DAYS = 2
TOP = 10
PEOPLE = 50


class Measure(StrEnum):
    """What is timed."""

    DELIVERY = "delivery"  # from leaving to the recipient's phone
    READING = "reading"  # from there to being read
    RESPONSE = "response"  # from somebody's first unanswered message to what was written back


Grain = Literal["hour", "day"]
Order = Literal["sent", "read", "failed", "received", "email"]


@dataclass(frozen=True)
class Span:
    """From one moment to another, the second not included. Both begin a quarter hour."""

    since: datetime
    until: datetime


@dataclass(frozen=True)
class Period:
    """Whole days of a time zone, the last one included."""

    first: date
    last: date
    zone: str

    @property
    def days(self) -> int:
        """How many days."""
        return (self.last - self.first).days + 1

    @property
    def span(self) -> Span:
        """From midnight to midnight, wherever daylight saving puts them."""
        return Span(_midnight(self.first, self.zone), _midnight(self.last + timedelta(days=1), self.zone))

    def before(self, now: datetime) -> Span:
        """The same number of days before. Of a period that is not over only as much: by the clock, to the quarter."""
        earlier = timedelta(days=self.days)
        since, until = _midnight(self.first - earlier, self.zone), _midnight(self.first, self.zone)
        if not self.span.since <= now < self.span.until:
            return Span(since, until)
        seen = now.astimezone(_zone(self.zone))
        by_then = (seen.replace(tzinfo=None) - earlier).replace(tzinfo=_zone(self.zone)).astimezone(UTC)
        return Span(since, min(_next_quarter(by_then), until))


@dataclass(frozen=True)
class Times:
    """How long something took, in seconds. `median` and `slow` (90 % were faster) are exact to a fifth."""

    count: int = 0
    mean: float | None = None
    median: float | None = None
    slow: float | None = None


@dataclass(frozen=True)
class Figures:
    """Messages of a period. `sent` includes delivered and read ones, `delivered` read ones; `received` came in."""

    total: int
    waiting: int
    sent: int
    delivered: int
    read: int
    failed: int
    uncertain: int
    received: int
    opt_outs: int
    times: Mapping[Measure, Times]


@dataclass(frozen=True)
class Point:
    """An hour or a day of the period; `starts_at` is the viewer's wall clock, without a zone."""

    starts_at: datetime
    sent: int
    delivered: int
    read: int
    failed: int
    received: int


@dataclass(frozen=True)
class Cell:
    """An hour of a weekday (1 is Monday) over the whole period."""

    weekday: int
    hour: int
    sent: int
    received: int


@dataclass(frozen=True)
class Failure:
    """Why messages did not arrive, or may not have: a code of `messages.FAILURES`."""

    code: str
    messages: int


@dataclass(frozen=True)
class Part:
    """What one template or campaign came to; `name` is None where it has gone, and for staff:
    it is its owner's."""

    id: UUID
    name: str | None
    total: int
    sent: int
    delivered: int
    read: int
    failed: int


@dataclass(frozen=True)
class Availability:
    """How well sessions were up, from their timeline: seconds `up` of those `known`, and the `median` of a pairing."""

    up: float
    known: float
    attempts: int
    paired: int
    median: float | None

    @property
    def uptime(self) -> float | None:
        """From 0 to 1; None where nothing is known."""
        return self.up / self.known if self.known else None

    @property
    def success(self) -> float | None:
        """Of pairings, from 0 to 1; None where none began."""
        return self.paired / self.attempts if self.attempts else None


@dataclass(frozen=True)
class Report:
    """One period beside the one before. `grain` says what a point is."""

    period: Period
    now: Figures
    before: Figures
    availability: Availability
    availability_before: Availability
    grain: Grain
    points: list[Point]
    cells: list[Cell]
    failures: list[Failure]
    templates: list[Part]
    campaigns: list[Part]


@dataclass(frozen=True)
class RankRow:
    """One person's session in a period. `response` is the mean, in seconds."""

    user_id: UUID
    email: str
    total: int
    sent: int
    delivered: int
    read: int
    failed: int
    uncertain: int
    received: int
    response: float | None


@dataclass(frozen=True)
class Ranking:
    """One page; `total` counts everybody who had anything in the period."""

    rows: list[RankRow]
    total: int


@dataclass(frozen=True)
class Person:
    """Somebody whose report staff may choose."""

    user_id: UUID
    email: str


# --- what a person looks at -------------------------------------------------------------------------------------------


def report(actor: Actor, period: Period, user_id: UUID | None = None, now: datetime | None = None) -> Report:
    """What `period` came to for `user_id`: for a user their own, for staff anybody's or (None) everybody's.

    Raises Forbidden where it is somebody else's, InvalidInput for an unknown zone and a period backwards or too long.
    """
    whose, moment = _whose(actor, user_id), now or datetime.now(UTC)
    _check(period)
    grain: Grain = "hour" if period.days <= HOURLY_DAYS else "day"
    span, earlier = period.span, period.before(moment)
    try:
        with transaction(actor) as tx:
            return Report(
                period=period,
                now=_figures(tx, whose, span),
                before=_figures(tx, whose, earlier),
                availability=_availability(tx, whose, span),
                availability_before=_availability(tx, whose, earlier),
                grain=grain,
                points=_points(tx, whose, period, grain),
                cells=_cells(tx, whose, period),
                failures=_failures(tx, whose, span),
                templates=_parts(tx, whose, span, "template_id", templates),
                campaigns=_parts(tx, whose, span, "campaign_id", campaigns),
            )
    except DBAPIError as error:
        # Python's list of zones may be newer than the database's.
        if getattr(error.orig, "sqlstate", None) == "22023":
            raise InvalidInput(f"zone {period.zone}") from error
        raise


def ranking(actor: Actor, period: Period, order: Order = "sent", page: int = 1, size: int = PAGE_SIZE) -> Ranking:
    """Everybody's figures person by person, one page, for staff. Raises Forbidden, InvalidInput as `report`."""
    if not actor.is_staff:
        raise Forbidden("reports of everybody")
    _check(period)
    given = {**_days_within(period.span), "limit": size, "offset": (page - 1) * size}
    with transaction(actor) as tx:
        rows = tx.execute(text(_RANKING.format(order=_ORDERS[order])), given).all()
    return Ranking([_rank_row(row) for row in rows], rows[0].people if rows else 0)


def people(actor: Actor, typed: str = "") -> list[Person]:
    """Whom staff may choose: up to 50 whose e-mail or name holds `typed`. Raises Forbidden."""
    if not actor.is_staff:
        raise Forbidden("reports of others")
    part = containing(typed)
    found = select(directory.c.user_id, directory.c.email).where(
        directory.c.email.ilike(part) | directory.c.name.ilike(part)
    )
    with transaction(actor) as tx:
        rows = tx.execute(found.order_by(directory.c.email).limit(PEOPLE)).all()
    return [Person(row.user_id, row.email) for row in rows]


# --- the weekly summary -----------------------------------------------------------------------------------------------


def post_weekly(now: datetime | None = None) -> bool:
    """Post the last whole week's summary to ALERT_WEBHOOK_URL; False where none is set.

    Raises AlertNotPosted where the address does not take it: the job tries again.
    """
    if not settings.get().alert_webhook_url.get_secret_value():
        return False
    moment = now or datetime.now(UTC)
    zone = settings.get().report_time_zone
    today = moment.astimezone(_zone(zone)).date()
    monday = today - timedelta(days=today.weekday())
    found = report(SYSTEM, Period(monday - timedelta(days=7), monday - timedelta(days=1), zone), now=moment)
    if not alerts.post(_summary(found)):
        raise AlertNotPosted("weekly summary")
    return True


def _summary(found: Report) -> dict[str, Any]:
    now, before = found.now, found.before
    lines = [
        f"Plushify, semana de {found.period.first:%d/%m} a {found.period.last:%d/%m}",
        f"Enviadas: {now.sent} ({_change(now.sent, before.sent)})",
        f"Entregues: {now.delivered} ({_share(now.delivered, now.sent)}) · lidas: {now.read} "
        f"({_share(now.read, now.sent)})",
        f"Falharam: {now.failed} · incertas: {now.uncertain}",
        f"Recebidas: {now.received} ({_change(now.received, before.received)}) · descadastros: {now.opt_outs}",
    ]
    if found.availability.uptime is not None:
        lines.append(f"Sessões no ar: {found.availability.uptime:.1%} do tempo".replace(".", ","))
    return {
        "text": "\n".join(lines),
        "report": {
            "first": found.period.first.isoformat(),
            "last": found.period.last.isoformat(),
            **{
                name: getattr(now, name)
                for name in ("sent", "delivered", "read", "failed", "uncertain", "received", "opt_outs")
            },
        },
    }


def _change(now: int, before: int) -> str:
    return f"{(now - before) / before:+.0%}" if before else "sem semana anterior"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "–"


# --- periods ----------------------------------------------------------------------------------------------------------


def _whose(actor: Actor, user_id: UUID | None) -> UUID | None:
    """Whose rows are summed; None is everybody."""
    if actor.is_staff or actor.kind is ActorKind.SYSTEM:
        return user_id
    if actor.user_id is None or user_id not in (None, actor.user_id):
        raise Forbidden("report of somebody else")
    return actor.user_id


def _check(period: Period) -> None:
    _zone(period.zone)
    if not 1 <= period.days <= MAX_DAYS:
        raise InvalidInput(f"{period.days} days")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise InvalidInput(f"zone {name!r}") from error


def _midnight(day: date, zone: str) -> datetime:
    """When `day` begins. Where daylight saving skips midnight that is the first moment after the gap."""
    return datetime.combine(day, time.min, _zone(zone)).astimezone(UTC)


def _next_quarter(moment: datetime) -> datetime:
    past = timedelta(minutes=moment.minute % 15, seconds=moment.second, microseconds=moment.microsecond)
    return moment - past + QUARTER if past else moment


def _days_within(span: Span) -> dict[str, datetime]:
    """The span, and the whole days (UTC) inside it: those are summed up already."""
    whole = span.since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = whole if whole == span.since else whole + timedelta(days=1)
    last = span.until.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return {"since": span.since, "until": span.until, "first": first, "last": max(first, last)}


# --- sums -------------------------------------------------------------------------------------------------------------

# One person's rows, or everybody's: `is not distinct from` would find no index.
_MINE = "f.user_id = :whose"
_ALL = "f.user_id is null"

_FIGURES = """
select coalesce(sum(total) filter (where direction = 'out'), 0) as total, coalesce(sum(waiting), 0) as waiting,
       coalesce(sum(sent), 0) as sent, coalesce(sum(delivered), 0) as delivered, coalesce(sum(read), 0) as read,
       coalesce(sum(failed), 0) as failed, coalesce(sum(uncertain), 0) as uncertain,
       coalesce(sum(total) filter (where direction = 'in'), 0) as received, coalesce(sum(opt_outs), 0) as opt_outs,
       coalesce(sum(delivery_count), 0) as delivery_count, coalesce(sum(delivery_ms), 0) as delivery_ms,
       coalesce(sum(reading_count), 0) as reading_count, coalesce(sum(reading_ms), 0) as reading_ms,
       coalesce(sum(response_count), 0) as response_count, coalesce(sum(response_ms), 0) as response_ms
  from public.report_figures f
 where f.span = 'quarter' and {whose} and f.starts_at >= :since and f.starts_at < :until
"""

# The band in which a share of the messages is reached, and how far into it: bands are evenly filled as far as we know.
_TIMES = """
with bands as (
  select measure, band, sum(messages) as n from public.report_times f
   where {whose} and f.starts_at >= :since and f.starts_at < :until group by 1, 2
), reached as (
  select measure, band, n, sum(n) over w as upto, sum(n) over (partition by measure) as whole
    from bands window w as (partition by measure order by band)
)
select measure, share, min(power(2, (band - 1 + (share * whole - (upto - n)) / n) / 2)) as seconds
  from reached cross join (values (0.5), (0.9)) s (share)
 where upto >= share * whole and upto - n < share * whole
 group by 1, 2
"""

_POINTS = """
select date_trunc(:grain, f.starts_at at time zone :zone) as starts_at, sum(sent) as sent, sum(delivered) as delivered,
       sum(read) as read, sum(failed + uncertain) as failed,
       coalesce(sum(total) filter (where direction = 'in'), 0) as received
  from public.report_figures f
 where f.span = 'quarter' and {whose} and f.starts_at >= :since and f.starts_at < :until
 group by 1 order by 1
"""

_CELLS = """
select extract(isodow from f.starts_at at time zone :zone)::int as weekday,
       extract(hour from f.starts_at at time zone :zone)::int as hour, sum(sent) as sent,
       coalesce(sum(total) filter (where direction = 'in'), 0) as received
  from public.report_figures f
 where f.span = 'quarter' and {whose} and f.starts_at >= :since and f.starts_at < :until
 group by 1, 2 having sum(sent) > 0 or sum(total) filter (where direction = 'in') > 0 order by 1, 2
"""

_FAILURES = """
select failure as code, sum(failed + uncertain) as messages from public.report_figures f
 where f.span = 'quarter' and {whose} and f.failure is not null and f.starts_at >= :since and f.starts_at < :until
 group by 1 having sum(failed + uncertain) > 0 order by 2 desc, 1 limit :top
"""

_PARTS = """
select f.{column} as id, sum(total) as total, sum(sent) as sent, sum(delivered) as delivered, sum(read) as read,
       sum(failed + uncertain) as failed
  from public.report_figures f
 where f.span = 'quarter' and {whose} and f.{column} is not null and f.starts_at >= :since and f.starts_at < :until
 group by 1 order by 2 desc, 1 limit :top
"""

_RANKING = """
with summed as (
  select user_id, sum(total) filter (where direction = 'out') as total, sum(sent) as sent, sum(delivered) as delivered,
         sum(read) as read, sum(failed) as failed, sum(uncertain) as uncertain,
         sum(total) filter (where direction = 'in') as received, sum(response_ms) as response_ms,
         sum(response_count) as response_count
    from (select * from public.report_figures
           where span = 'day' and user_id is not null and starts_at >= :first and starts_at < :last
          union all
          select * from public.report_figures where span = 'quarter' and user_id is not null
             and starts_at >= :since and starts_at < least(:first, :until)
          union all
          select * from public.report_figures where span = 'quarter' and user_id is not null
             and starts_at >= greatest(:last, least(:first, :until)) and starts_at < :until) f
   group by user_id
)
select s.user_id, coalesce(d.email, s.user_id::text) as email, coalesce(s.total, 0) as total, s.sent, s.delivered,
       s.read, s.failed, s.uncertain, coalesce(s.received, 0) as received,
       s.response_ms / 1000.0 / nullif(s.response_count, 0) as response, count(*) over () as people
  from summed s left join app.directory d on d.user_id = s.user_id
 order by {order} limit :limit offset :offset
"""
_ORDERS = {
    "sent": "s.sent desc, s.user_id",
    "read": "s.read desc, s.user_id",
    "failed": "s.failed + s.uncertain desc, s.user_id",
    "received": "received desc, s.user_id",
    "email": "email, s.user_id",
}

# What a session was before its first entry is not known, and counts for nothing; one without any entry has not changed.
_UPTIME = """
with mine as (
  select s.id, greatest(s.created_at, :since) as since, coalesce(
           (select t.what from public.session_timeline t
             where t.session_id = s.id and t.kind = 'state' and t.what in ('desconectado', 'pareando', 'conectado')
               and t.at <= greatest(s.created_at, :since) order by t.at desc limit 1),
           case when not exists (select from public.session_timeline t
             where t.session_id = s.id and t.kind = 'state' and t.what in ('desconectado', 'pareando', 'conectado'))
           then s.status end) as what
    from public.whatsapp_sessions s where {whose} and s.created_at < :until
), changes as (
  select id, since as at, what from mine
  union all
  select t.session_id, t.at, t.what from mine m join public.session_timeline t on t.session_id = m.id
   where t.kind = 'state' and t.what in ('desconectado', 'pareando', 'conectado') and t.at > m.since and t.at < :until
), lasting as (
  select what, lead(at, 1, least(:until, now())) over (partition by id order by at) - at as time from changes
)
select coalesce(extract(epoch from sum(time) filter (where what = 'conectado')), 0)::float as up,
       coalesce(extract(epoch from sum(time) filter (where what is not null)), 0)::float as known
  from lasting where time > interval '0'
"""

# A start that is answered by `conectado`, or not.
_PAIRING = """
with changes as (
  select t.what, t.at, lead(t.what) over w as following, lead(t.at) over w - t.at as time
    from public.session_timeline t join public.whatsapp_sessions s on s.id = t.session_id
   where {whose} and t.kind = 'state' and t.what in ('desconectado', 'pareando', 'conectado')
     and t.at >= :since and t.at < cast(:until as timestamptz) + interval '10 minutes'
  window w as (partition by t.session_id order by t.at)
)
select count(*) as attempts, count(*) filter (where following = 'conectado') as paired,
       percentile_cont(0.5) within group (order by extract(epoch from time)::float)
         filter (where following = 'conectado') as median
  from changes where what = 'pareando' and at < :until
"""


def _asked(query: str, whose: UUID | None, **names: str) -> Any:
    return text(query.format(whose=_ALL if whose is None else _MINE, **names))


def _given(whose: UUID | None, span: Span, **more: Any) -> dict[str, Any]:
    mine = {} if whose is None else {"whose": whose}
    return {"since": span.since, "until": span.until, **mine, **more}


def _figures(tx: Connection, whose: UUID | None, span: Span) -> Figures:
    row = tx.execute(_asked(_FIGURES, whose), _given(whose, span)).one()
    bands = tx.execute(_asked(_TIMES, whose), _given(whose, span)).all()
    reached = {(Measure(one.measure), float(one.share)): float(one.seconds) for one in bands}
    return Figures(
        total=row.total,
        waiting=row.waiting,
        sent=row.sent,
        delivered=row.delivered,
        read=row.read,
        failed=row.failed,
        uncertain=row.uncertain,
        received=row.received,
        opt_outs=row.opt_outs,
        times={measure: _times(row, measure, reached) for measure in Measure},
    )


def _times(row: Record, measure: Measure, reached: Mapping[tuple[Measure, float], float]) -> Times:
    count, ms = row._mapping[f"{measure}_count"], row._mapping[f"{measure}_ms"]
    if not count:
        return Times()
    return Times(count, int(ms) / 1000 / count, reached.get((measure, 0.5)), reached.get((measure, 0.9)))


def _points(tx: Connection, whose: UUID | None, period: Period, grain: Grain) -> list[Point]:
    given = _given(whose, period.span, zone=period.zone, grain=grain)
    return [
        Point(row.starts_at, row.sent, row.delivered, row.read, row.failed, row.received)
        for row in tx.execute(_asked(_POINTS, whose), given)
    ]


def _cells(tx: Connection, whose: UUID | None, period: Period) -> list[Cell]:
    given = _given(whose, period.span, zone=period.zone)
    return [Cell(row.weekday, row.hour, row.sent, row.received) for row in tx.execute(_asked(_CELLS, whose), given)]


def _failures(tx: Connection, whose: UUID | None, span: Span) -> list[Failure]:
    rows = tx.execute(_asked(_FAILURES, whose), _given(whose, span, top=TOP))
    return [Failure(row.code, row.messages) for row in rows]


def _parts(
    tx: Connection, whose: UUID | None, span: Span, column: Literal["template_id", "campaign_id"], table: Table
) -> list[Part]:
    """By template or campaign, for one person: everybody's sums know neither."""
    if whose is None:
        return []
    rows = tx.execute(_asked(_PARTS, whose, column=column), _given(whose, span, top=TOP)).all()
    names = _names(tx, table, [row.id for row in rows])
    return [Part(row.id, names.get(row.id), row.total, row.sent, row.delivered, row.read, row.failed) for row in rows]


def _names(tx: Connection, table: Table, ids: list[UUID]) -> dict[UUID, str]:
    rows = tx.execute(select(table.c.id, table.c.name).where(table.c.id.in_(ids))) if ids else ()
    return {row.id: row.name for row in rows}


def _availability(tx: Connection, whose: UUID | None, span: Span) -> Availability:
    mine = "true" if whose is None else "s.user_id = :whose"
    given = _given(whose, span)
    time_up = tx.execute(text(_UPTIME.format(whose=mine)), given).one()
    pairing = tx.execute(text(_PAIRING.format(whose=mine)), given).one()
    return Availability(time_up.up, time_up.known, pairing.attempts, pairing.paired, pairing.median)


def _rank_row(row: Record) -> RankRow:
    return RankRow(
        user_id=row.user_id,
        email=row.email,
        total=row.total,
        sent=row.sent,
        delivered=row.delivered,
        read=row.read,
        failed=row.failed,
        uncertain=row.uncertain,
        received=row.received,
        response=None if row.response is None else float(row.response),
    )
