"""The SQL of the reports and the reading of its rows.

Everything is summed from quarter hours (`services.reporting.rollups`) and from the sessions' timeline.
"""

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, Table, select, text

from services.db.rows import read_row, read_rows
from services.db.tables.base import Record
from services.reporting.report_model import (
    Availability,
    BreakdownRow,
    ChartPoint,
    Durations,
    FailureCount,
    Grain,
    Measure,
    Totals,
    WeekdayHour,
)
from services.reporting.report_periods import Period, Span

TOP_ROWS = 10


# One person's rows, or everybody's: `is not distinct from` would find no index.
_OF_ONE_USER = "f.user_id = :whose"
_OF_EVERYBODY = "f.user_id is null"

_TOTALS = """
select coalesce(sum(total) filter (where direction = 'out'), 0) as total, coalesce(sum(waiting), 0) as waiting,
       coalesce(sum(sent), 0) as sent, coalesce(sum(delivered), 0) as delivered, coalesce(sum(read), 0) as read,
       coalesce(sum(failed), 0) as failed, coalesce(sum(uncertain), 0) as uncertain,
       coalesce(sum(total) filter (where direction = 'in'), 0) as received, coalesce(sum(opt_outs), 0) as opt_outs,
       coalesce(sum(delivery_count), 0) as delivery_count, coalesce(sum(delivery_ms), 0) as delivery_ms,
       coalesce(sum(reading_count), 0) as reading_count, coalesce(sum(reading_ms), 0) as reading_ms,
       coalesce(sum(response_count), 0) as response_count, coalesce(sum(response_ms), 0) as response_ms
  from public.report_buckets f
 where f.span = 'quarter' and {whose} and f.starts_at >= :since and f.starts_at < :until
"""

# The band in which a share of the messages is reached, and how far into it: bands are evenly filled as far as we know.
_DURATIONS = """
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
  from public.report_buckets f
 where f.span = 'quarter' and {whose} and f.starts_at >= :since and f.starts_at < :until
 group by 1 order by 1
"""

_WEEKDAY_HOURS = """
select extract(isodow from f.starts_at at time zone :zone)::int as weekday,
       extract(hour from f.starts_at at time zone :zone)::int as hour, sum(sent) as sent,
       coalesce(sum(total) filter (where direction = 'in'), 0) as received
  from public.report_buckets f
 where f.span = 'quarter' and {whose} and f.starts_at >= :since and f.starts_at < :until
 group by 1, 2 having sum(sent) > 0 or sum(total) filter (where direction = 'in') > 0 order by 1, 2
"""

_FAILURES = """
select failure as code, sum(failed + uncertain) as messages from public.report_buckets f
 where f.span = 'quarter' and {whose} and f.failure is not null and f.starts_at >= :since and f.starts_at < :until
 group by 1 having sum(failed + uncertain) > 0 order by 2 desc, 1 limit :top
"""

_BREAKDOWN = """
select f.{column} as id, sum(total) as total, sum(sent) as sent, sum(delivered) as delivered, sum(read) as read,
       sum(failed + uncertain) as failed
  from public.report_buckets f
 where f.span = 'quarter' and {whose} and f.{column} is not null and f.starts_at >= :since and f.starts_at < :until
 group by 1 order by 2 desc, 1 limit :top
"""

RANKING = """
with summed as (
  select user_id, sum(total) filter (where direction = 'out') as total, sum(sent) as sent, sum(delivered) as delivered,
         sum(read) as read, sum(failed) as failed, sum(uncertain) as uncertain,
         sum(total) filter (where direction = 'in') as received, sum(response_ms) as response_ms,
         sum(response_count) as response_count
    from (select * from public.report_buckets
           where span = 'day' and user_id is not null and starts_at >= :first and starts_at < :last
          union all
          select * from public.report_buckets where span = 'quarter' and user_id is not null
             and starts_at >= :since and starts_at < least(:first, :until)
          union all
          select * from public.report_buckets where span = 'quarter' and user_id is not null
             and starts_at >= greatest(:last, least(:first, :until)) and starts_at < :until) f
   group by user_id
)
select s.user_id, coalesce(d.email, s.user_id::text) as email, coalesce(s.total, 0) as total, s.sent, s.delivered,
       s.read, s.failed, s.uncertain, coalesce(s.received, 0) as received,
       s.response_ms / 1000.0 / nullif(s.response_count, 0) as response, count(*) over () as people
  from summed s left join app.directory d on d.user_id = s.user_id
 order by {order} limit :limit offset :offset
"""
RANKING_ORDERS = {
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
           (select t.action from public.session_timeline t
             where t.session_id = s.id and t.kind = 'state' and t.action in ('desconectado', 'pareando', 'conectado')
               and t.occurred_at <= greatest(s.created_at, :since) order by t.occurred_at desc limit 1),
           case when not exists (select from public.session_timeline t
             where t.session_id = s.id and t.kind = 'state' and t.action in ('desconectado', 'pareando', 'conectado'))
           then s.status end) as action
    from public.whatsapp_sessions s where {whose} and s.created_at < :until
), changes as (
  select id, since as occurred_at, action from mine
  union all
  select t.session_id, t.occurred_at, t.action from mine m join public.session_timeline t on t.session_id = m.id
   where t.kind = 'state' and t.action in ('desconectado', 'pareando', 'conectado') and t.occurred_at > m.since
       and t.occurred_at < :until
), lasting as (
  select action, lead(occurred_at, 1, least(:until, now())) over (partition by id
      order by occurred_at) - occurred_at as time from changes
)
select coalesce(extract(epoch from sum(time) filter (where action = 'conectado')), 0)::float as up,
       coalesce(extract(epoch from sum(time) filter (where action is not null)), 0)::float as known
  from lasting where time > interval '0'
"""

# A start that is answered by `conectado`, or not.
_PAIRING = """
with changes as (
  select t.action, t.occurred_at, lead(t.action) over w as following, lead(t.occurred_at) over w - t.occurred_at as time
    from public.session_timeline t join public.whatsapp_sessions s on s.id = t.session_id
   where {whose} and t.kind = 'state' and t.action in ('desconectado', 'pareando', 'conectado')
     and t.occurred_at >= :since and t.occurred_at < cast(:until as timestamptz) + interval '10 minutes'
  window w as (partition by t.session_id order by t.occurred_at)
)
select count(*) as attempts, count(*) filter (where following = 'conectado') as paired,
       percentile_cont(0.5) within group (order by extract(epoch from time)::float)
         filter (where following = 'conectado') as median
  from changes where action = 'pareando' and occurred_at < :until
"""


def _query(query: str, whose: UUID | None, **names: str) -> Any:
    return text(query.format(whose=_OF_EVERYBODY if whose is None else _OF_ONE_USER, **names))


def _params(whose: UUID | None, span: Span, **more: Any) -> dict[str, Any]:
    mine = {} if whose is None else {"whose": whose}
    return {"since": span.since, "until": span.until, **mine, **more}


def get_totals(tx: Connection, whose: UUID | None, span: Span) -> Totals:
    """Sums up the messages of a span and how long they took, for one user or for everybody (None)."""
    row = tx.execute(_query(_TOTALS, whose), _params(whose, span)).one()
    bands = tx.execute(_query(_DURATIONS, whose), _params(whose, span)).all()
    reached = {(Measure(one.measure), float(one.share)): float(one.seconds) for one in bands}
    return read_row(Totals, row, times={measure: _get_durations(row, measure, reached) for measure in Measure})


def _get_durations(row: Record, measure: Measure, reached: Mapping[tuple[Measure, float], float]) -> Durations:
    count, ms = row._mapping[f"{measure}_count"], row._mapping[f"{measure}_ms"]
    if not count:
        return Durations()
    return Durations(count, int(ms) / 1000 / count, reached.get((measure, 0.5)), reached.get((measure, 0.9)))


def get_chart_points(tx: Connection, whose: UUID | None, period: Period, grain: Grain) -> list[ChartPoint]:
    """Counts the messages of a period by hour or by day of its zone (`grain`), for one user or for everybody (None)."""
    given = _params(whose, period.span, zone=period.zone, grain=grain)
    return read_rows(ChartPoint, tx.execute(_query(_POINTS, whose), given))


def get_weekday_hours(tx: Connection, whose: UUID | None, period: Period) -> list[WeekdayHour]:
    """Counts the messages of a period by weekday and hour of its zone, for one user or for everybody (None)."""
    given = _params(whose, period.span, zone=period.zone)
    return read_rows(WeekdayHour, tx.execute(_query(_WEEKDAY_HOURS, whose), given))


def get_failures(tx: Connection, whose: UUID | None, span: Span) -> list[FailureCount]:
    """The most frequent failure codes of a span, up to `TOP_ROWS`, for one user or for everybody (None)."""
    return read_rows(FailureCount, tx.execute(_query(_FAILURES, whose), _params(whose, span, top=TOP_ROWS)))


def get_breakdown(
    tx: Connection, whose: UUID | None, span: Span, column: Literal["template_id", "campaign_id"], table: Table
) -> list[BreakdownRow]:
    """By template or campaign, for one person: everybody's sums know neither."""
    if whose is None:
        return []
    rows = tx.execute(_query(_BREAKDOWN, whose, column=column), _params(whose, span, top=TOP_ROWS)).all()
    names = _get_names(tx, table, [row.id for row in rows])
    return [read_row(BreakdownRow, row, name=names.get(row.id)) for row in rows]


def _get_names(tx: Connection, table: Table, ids: list[UUID]) -> dict[UUID, str]:
    rows = tx.execute(select(table.c.id, table.c.name).where(table.c.id.in_(ids))) if ids else ()
    return {row.id: row.name for row in rows}


def get_availability(tx: Connection, whose: UUID | None, span: Span) -> Availability:
    """How long sessions were up in a span, in seconds, and how their starts ended, for one user or everybody (None)."""
    mine = "true" if whose is None else "s.user_id = :whose"
    given = _params(whose, span)
    time_up = tx.execute(text(_UPTIME.format(whose=mine)), given).one()
    pairing = tx.execute(text(_PAIRING.format(whose=mine)), given).one()
    return read_row(Availability, pairing, up=time_up.up, known=time_up.known)
