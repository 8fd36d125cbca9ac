"""Rollups: totals of the messages by quarter hours, counted again by the worker wherever a message has changed.

A trigger notes which quarters are out of date (`report_dirty_buckets`). A round takes such notes and, in the same
transaction, counts each quarter from the messages themselves. So whatever comes late, twice or out of order, the
totals are those of the rows, and rebuilding all of them gives the same numbers. A change during a round makes a
new note.

A message belongs to the quarter in which it was to leave (`run_at`), an inbound one to that in which it came. An
answer is what a person wrote (no campaign, no schedule, not failed) after the other side had written. Its response
time counts from the first inbound message that nobody had answered.
"""

from collections.abc import Callable

from sqlalchemy import Connection, text

from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.platform.worker_loop import Periodic

# How old a figure may be before the next round looks: what a person waits for at most, beside the round itself.
ROUND_SECONDS = 1.0
# A quarter into which a hundred thousand messages fall takes a while to count: rounds take a fifth of the time at most.
REST_FACTOR = 4
# Notes that one round takes: enough for any load, little enough for a transaction of well under a second.
NOTES_PER_ROUND = 2_000


def build_rounds() -> Periodic:
    """The rounds of one worker; the longer a round took, the longer the rest after it."""
    return Periodic(run_round, lambda took: max(ROUND_SECONDS, REST_FACTOR * took))


def run_round(limit: int = NOTES_PER_ROUND) -> bool:
    """One round. True where there may be more to do; False also while another process is at it."""
    with transaction(SYSTEM) as tx:
        if not tx.execute(_TRY_LOCK).scalar_one():
            return False
        return _count_noted_quarters(tx, limit) >= limit


def rebuild(progress: Callable[[int, int], object] | None = None) -> int:
    """Count every quarter anew from the messages; returns how many there were. `progress(done, of)` after each batch.

    The figures stay readable meanwhile, and the worker may go on.
    """
    with transaction(SYSTEM) as tx:
        quarters = tx.execute(_ALL_QUARTERS).all()
    for start in range(0, len(quarters), NOTES_PER_ROUND):
        batch = quarters[start : start + NOTES_PER_ROUND]
        with transaction(SYSTEM) as tx:
            tx.execute(_LOCK)
            _count_quarters(tx, [row.user_id for row in batch], [row.quarter for row in batch])
        if progress is not None:
            progress(start + len(batch), len(quarters))
    return len(quarters)


def _count_noted_quarters(tx: Connection, limit: int) -> int:
    notes = tx.execute(_TAKE_NOTES, {"limit": limit}).all()
    if notes:
        given = {
            "users": [row.user_id for row in notes],
            "quarters": [row.quarter for row in notes],
            "phones": [row.phone for row in notes],
        }
        dirty = tx.execute(_AFFECTED_QUARTERS, given).all()
        _count_quarters(tx, [row.user_id for row in dirty], [row.quarter for row in dirty])
        tx.execute(_NOTIFY, {"users": list({row.user_id for row in notes})})
    return len(notes)


def _count_quarters(tx: Connection, users: list[object], quarters: list[object]) -> None:
    """Replace the figures of these quarters, of everybody's in them, and of the days around them."""
    given = {"users": users, "quarters": quarters}
    for statement in (
        _DELETE_QUARTERS,
        _INSERT_QUARTERS,
        _DELETE_SUMS,
        _INSERT_SUMS,
        _INSERT_TIMES_SUMS,
        _DELETE_DAYS,
        _INSERT_DAYS,
    ):
        tx.execute(statement, given)


_TRY_LOCK = text("select pg_try_advisory_xact_lock(hashtextextended('rollups', 0))")
_LOCK = text("select pg_advisory_xact_lock(hashtextextended('rollups', 0))")

_TAKE_NOTES = text("""
delete from public.report_dirty_buckets
 where id in (select id from public.report_dirty_buckets order by id limit :limit)
returning user_id, quarter, phone
""")


def _answer_condition(of: str) -> str:
    """The condition that the message `of` (an alias) is what somebody wrote, which also counts as answering."""
    columns = f"{of}.campaign_id is null and {of}.schedule_id is null"
    return f"{of}.direction = 'out' and {columns} and {of}.state <> 'failed'"


# Where a chat changed, the first answer after that quarter may be an answer to something else now.
_AFFECTED_QUARTERS = text(f"""
with noted as (
  select distinct * from unnest(cast(:users as uuid[]), cast(:quarters as timestamptz[]), cast(:phones as text[]))
    as x (user_id, quarter, phone)
)
select user_id, quarter from noted
union
select n.user_id, app.get_quarter(answer.run_at) from noted n cross join lateral (
  select m.run_at from public.messages m
   where m.user_id = n.user_id and m.phone = n.phone and m.run_at >= n.quarter + interval '15 minutes'
     and {_answer_condition("m")}
   order by m.run_at, m.seq limit 1) answer
""")

_ALL_QUARTERS = text("""
select user_id, app.get_quarter(run_at) as quarter from public.messages
union select user_id, app.get_quarter(created_at) from public.opt_outs
union select user_id, starts_at from public.report_buckets where span = 'quarter' and user_id is not null
order by quarter, user_id
""")

_DIRTY_QUARTERS = """
with dirty as materialized (
  select distinct * from unnest(cast(:users as uuid[]), cast(:quarters as timestamptz[])) as x (user_id, quarter)
)"""

_DELETE_QUARTERS = text(f"""{_DIRTY_QUARTERS}, times as (
  delete from public.report_times t using dirty d where t.user_id = d.user_id and t.starts_at = d.quarter
)
delete from public.report_buckets f using dirty d
 where f.span = 'quarter' and f.user_id = d.user_id and f.starts_at = d.quarter
""")

# `offset 0` holds the planner to one look into the index for each quarter: it would rather join all messages of these
# people and then throw away what lies outside. A clock that went back, ours or the phone's, makes no time negative.
# Only an answer is looked back from, and that is asked inside: as a join's condition it would be asked after each look,
# and a chat of 40,000 messages that nobody answered would be walked 40,000 times.
_INSERT_QUARTERS = text(f"""{_DIRTY_QUARTERS}, counted as materialized (
  select d.user_id, d.quarter, m.direction, m.template_id, m.campaign_id, m.failure, m.state,
         case when m.direction = 'out' and m.delivered_at is not null and m.sending_at is not null
           then (extract(epoch from greatest(m.delivered_at - m.sending_at, '0')) * 1000)::bigint end as delivery,
         case when m.direction = 'out' and m.read_at is not null and m.delivered_at is not null
           then (extract(epoch from greatest(m.read_at - m.delivered_at, '0')) * 1000)::bigint end as reading,
         (extract(epoch from m.run_at - asked.run_at) * 1000)::bigint as response
    from dirty d
   cross join lateral (
      select m.user_id, m.seq, m.phone, m.direction, m.state, m.failure, m.run_at, m.sending_at, m.delivered_at,
             m.read_at, m.template_id, m.schedule_id, m.campaign_id
        from public.messages m
       where m.user_id = d.user_id and m.run_at >= d.quarter and m.run_at < d.quarter + interval '15 minutes'
      offset 0
    ) m
    left join lateral (
      select p.run_at, p.seq from public.messages p
       where {_answer_condition("m")} and p.user_id = m.user_id and p.phone = m.phone and (p.run_at, p.seq) <
       (m.run_at, m.seq)
         and {_answer_condition("p")}
       order by p.run_at desc, p.seq desc limit 1
    ) earlier on true
    left join lateral (
      select i.run_at from public.messages i
       where {_answer_condition("m")} and i.user_id = m.user_id and i.phone = m.phone and (i.run_at, i.seq) <
       (m.run_at, m.seq)
         and (i.run_at, i.seq) > (coalesce(earlier.run_at, '-infinity'), coalesce(earlier.seq, 0))
         and i.direction = 'in'
       order by i.run_at, i.seq limit 1
    ) asked on true
), times as (
  insert into public.report_times (user_id, starts_at, measure, band, messages)
  select user_id, quarter, measure, ceil(2 * ln(greatest(ms, 1) / 1000.0::double precision) / ln(2::double precision)),
         count(*)
    from counted cross join lateral (values ('delivery', delivery), ('reading', reading), ('response', response))
      as x (measure, ms)
   where ms is not null
   group by 1, 2, 3, 4
), figures as (
  select user_id, quarter, direction, template_id, campaign_id, failure, count(*) as total,
         count(*) filter (where state in ('queued', 'sending', 'accepted')) as waiting,
         count(*) filter (where state in ('sent', 'delivered', 'read')) as sent,
         count(*) filter (where state in ('delivered', 'read')) as delivered,
         count(*) filter (where state = 'read') as read,
         count(*) filter (where state = 'failed') as failed,
         count(*) filter (where state = 'uncertain') as uncertain,
         0 as opt_outs,
         count(delivery) as delivery_count, coalesce(sum(delivery), 0) as delivery_ms,
         count(reading) as reading_count, coalesce(sum(reading), 0) as reading_ms,
         count(response) as response_count, coalesce(sum(response), 0) as response_ms
    from counted group by 1, 2, 3, 4, 5, 6
  union all
  select d.user_id, d.quarter, 'in', null, null, null, 0, 0, 0, 0, 0, 0, 0, o.found, 0, 0, 0, 0, 0, 0
    from dirty d cross join lateral (
      select count(*) as found from public.opt_outs o
       where o.user_id = d.user_id and o.created_at >= d.quarter and o.created_at < d.quarter + interval '15 minutes') o
   where o.found > 0
)
insert into public.report_buckets
select 'quarter', user_id, quarter, direction, template_id, campaign_id, failure, sum(total), sum(waiting), sum(sent),
       sum(delivered), sum(read), sum(failed), sum(uncertain), sum(opt_outs), sum(delivery_count), sum(delivery_ms),
       sum(reading_count), sum(reading_ms), sum(response_count), sum(response_ms)
  from figures group by 1, 2, 3, 4, 5, 6, 7
""")

_SUM_COLUMNS = """sum(total), sum(waiting), sum(sent), sum(delivered), sum(read), sum(failed), sum(uncertain),
sum(opt_outs),
       sum(delivery_count), sum(delivery_ms), sum(reading_count), sum(reading_ms), sum(response_count),
       sum(response_ms)"""

_DELETE_SUMS = text(f"""{_DIRTY_QUARTERS}, times as (
  delete from public.report_times t where t.user_id is null and t.starts_at in (select quarter from dirty)
)
delete from public.report_buckets f
 where f.span = 'quarter' and f.user_id is null and f.starts_at in (select quarter from dirty)
""")

_INSERT_SUMS = text(f"""{_DIRTY_QUARTERS}
insert into public.report_buckets
select 'quarter', null, starts_at, direction, null, null, failure, {_SUM_COLUMNS}
  from public.report_buckets
 where span = 'quarter' and user_id is not null and starts_at in (select quarter from dirty)
 group by starts_at, direction, failure
""")

_INSERT_TIMES_SUMS = text(f"""{_DIRTY_QUARTERS}
insert into public.report_times (starts_at, measure, band, messages)
select starts_at, measure, band, sum(messages) from public.report_times
 where user_id is not null and starts_at in (select quarter from dirty) group by 1, 2, 3
""")

_DIRTY_DAYS = f"""{_DIRTY_QUARTERS}, days as materialized (
  select distinct user_id, date_trunc('day', quarter at time zone 'UTC') at time zone 'UTC' as day from dirty
)"""

_DELETE_DAYS = text(f"""{_DIRTY_DAYS}
delete from public.report_buckets f using days d
 where f.span = 'day' and f.user_id = d.user_id and f.starts_at = d.day
""")

_INSERT_DAYS = text(f"""{_DIRTY_DAYS}
insert into public.report_buckets
select 'day', d.user_id, d.day, f.direction, null, null, null, {_SUM_COLUMNS}
  from days d cross join lateral (
    select * from public.report_buckets q
     where q.span = 'quarter' and q.user_id = d.user_id and q.starts_at >= d.day
       and q.starts_at < d.day + interval '1 day'
    offset 0
  ) f
 group by d.user_id, d.day, f.direction
""")

# Staff hear of everybody's, each person of their own.
_NOTIFY = text("""
select pg_notify('live', 'report:' || x.who)
  from (select unnest(cast(:users as uuid[]))::text union all select '') x (who)
""")
