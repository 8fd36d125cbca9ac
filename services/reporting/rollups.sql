-- name: take_notes
delete from public.report_dirty_buckets
 where id in (select id from public.report_dirty_buckets order by id limit :limit)
returning user_id, quarter, phone

-- name: all_quarters
select user_id, app.get_quarter(run_at) as quarter from public.messages
union select user_id, app.get_quarter(created_at) from public.opt_outs
union select user_id, starts_at from public.report_buckets where span = 'quarter' and user_id is not null
order by quarter, user_id

-- name: dirty_quarters
with dirty as materialized (
  select distinct * from unnest(cast(:users as uuid[]), cast(:quarters as timestamptz[])) as x (user_id, quarter)
)

-- name: delete_quarters
{dirty_quarters}, times as (
  delete from public.report_times t using dirty d where t.user_id = d.user_id and t.starts_at = d.quarter
)
delete from public.report_buckets f using dirty d
 where f.span = 'quarter' and f.user_id = d.user_id and f.starts_at = d.quarter

-- name: sum_columns
sum(total), sum(waiting), sum(sent), sum(delivered), sum(read), sum(failed), sum(uncertain),
sum(opt_outs),
       sum(delivery_count), sum(delivery_ms), sum(reading_count), sum(reading_ms), sum(response_count),
       sum(response_ms)

-- name: delete_sums
{dirty_quarters}, times as (
  delete from public.report_times t where t.user_id is null and t.starts_at in (select quarter from dirty)
)
delete from public.report_buckets f
 where f.span = 'quarter' and f.user_id is null and f.starts_at in (select quarter from dirty)

-- name: insert_sums
{dirty_quarters}
insert into public.report_buckets
select 'quarter', null, starts_at, direction, null, null, failure, {sum_columns}
  from public.report_buckets
 where span = 'quarter' and user_id is not null and starts_at in (select quarter from dirty)
 group by starts_at, direction, failure

-- name: insert_times_sums
{dirty_quarters}
insert into public.report_times (starts_at, measure, band, messages)
select starts_at, measure, band, sum(messages) from public.report_times
 where user_id is not null and starts_at in (select quarter from dirty) group by 1, 2, 3

-- name: dirty_days
{dirty_quarters}, days as materialized (
  select distinct user_id, date_trunc('day', quarter at time zone 'UTC') at time zone 'UTC' as day from dirty
)

-- name: delete_days
{dirty_days}
delete from public.report_buckets f using days d
 where f.span = 'day' and f.user_id = d.user_id and f.starts_at = d.day

-- name: insert_days
{dirty_days}
insert into public.report_buckets
select 'day', d.user_id, d.day, f.direction, null, null, null, {sum_columns}
  from days d cross join lateral (
    select * from public.report_buckets q
     where q.span = 'quarter' and q.user_id = d.user_id and q.starts_at >= d.day
       and q.starts_at < d.day + interval '1 day'
    offset 0
  ) f
 group by d.user_id, d.day, f.direction

-- name: notify
-- Staff hear of everybody's, each person of their own.
select pg_notify('live', 'report:' || x.who)
  from (select unnest(cast(:users as uuid[]))::text union all select '') x (who)

-- name: m_answers
-- The message m is what somebody wrote, which also counts as answering.
m.direction = 'out' and m.campaign_id is null and m.schedule_id is null and m.state <> 'failed'

-- name: p_answers
p.direction = 'out' and p.campaign_id is null and p.schedule_id is null and p.state <> 'failed'

-- name: affected_quarters
-- Where a chat changed, the first answer after that quarter may be an answer to something else now.
with noted as (
  select distinct * from unnest(cast(:users as uuid[]), cast(:quarters as timestamptz[]), cast(:phones as text[]))
    as x (user_id, quarter, phone)
)
select user_id, quarter from noted
union
select n.user_id, app.get_quarter(answer.run_at) from noted n cross join lateral (
  select m.run_at from public.messages m
   where m.user_id = n.user_id and m.phone = n.phone and m.run_at >= n.quarter + interval '15 minutes'
     and {m_answers}
   order by m.run_at, m.seq limit 1) answer

-- name: insert_quarters
-- `offset 0` holds the planner to one look into the index for each quarter: it would rather join all messages of these
-- people and then throw away what lies outside. A clock that went back, ours or the phone's, makes no time negative.
-- Only an answer is looked back from, and that is asked inside: as a join's condition it would be asked after each look,
-- and a chat of 40,000 messages that nobody answered would be walked 40,000 times.
{dirty_quarters}, counted as materialized (
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
         and (m.direction = 'out' or app.is_written(m.kind))
      offset 0
    ) m
    left join lateral (
      select p.run_at, p.seq from public.messages p
       where {m_answers} and p.user_id = m.user_id and p.phone = m.phone and (p.run_at, p.seq) < (m.run_at, m.seq)
         and {p_answers}
       order by p.run_at desc, p.seq desc limit 1
    ) earlier on true
    left join lateral (
      select i.run_at from public.messages i
       where {m_answers} and i.user_id = m.user_id and i.phone = m.phone and (i.run_at, i.seq) < (m.run_at, m.seq)
         and (i.run_at, i.seq) > (coalesce(earlier.run_at, '-infinity'), coalesce(earlier.seq, 0))
         and i.direction = 'in' and app.is_written(i.kind)
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
       where o.user_id = d.user_id and o.created_at >= d.quarter and o.created_at < d.quarter + interval '15 minutes'
         and o.said_at is not null and not o.copied) o
   where o.found > 0
)
insert into public.report_buckets
select 'quarter', user_id, quarter, direction, template_id, campaign_id, failure, sum(total), sum(waiting), sum(sent),
       sum(delivered), sum(read), sum(failed), sum(uncertain), sum(opt_outs), sum(delivery_count), sum(delivery_ms),
       sum(reading_count), sum(reading_ms), sum(response_count), sum(response_ms)
  from figures group by 1, 2, 3, 4, 5, 6, 7
