"""The demo's messages, and what happened to them later."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from demo.texts import DIALOGUES, FIRST_NAMES, LAST_NAMES, TIME_ZONE

MESSAGE_COUNT = 200_000


def create_messages(db: psycopg.Connection) -> None:
    """What people wrote, what campaigns and schedules sent for them, and what waits or is in doubt."""
    with _triggers_disabled(db):
        _insert_messages(db)
        # Two of what each session sent lately and nobody has confirmed.
        db.execute(
            """
            update public.messages set state = 'uncertain', failure = 'unknown', accepted_at = null, sent_at = null,
                   wpp_id = null, ack = 0, uncertain_at = occurred_at + interval '30 s'
             where id in (
               select id from (select id, row_number() over (partition by session_id order by id) as n
                                 from public.messages
                                where state = 'sent' and occurred_at > now() - interval '4 days'
                                    and address like '%@c.us') m
                where n <= 2)
            """
        )
    db.execute(
        "update public.campaign_recipients set message_id = md5('CAMPAIGN' || campaign_id || seq)::uuid"
        " where state = 'released'"
    )
    db.execute(
        "insert into public.messages (session_id, user_id, direction, state, phone, contact_name, contact_id, body,"
        " run_at) select session_id, user_id, 'out', 'queued', phone, pushname, id, %s,"
        " now() + (1 + random() * 6) * interval '1 d'"
        " from public.contacts where phone is not null and random() < 0.01",
        [DIALOGUES[6][0][1:]],
    )
    db.execute(
        """
        update public.contacts c set last_message_at = m.newest,
               unread = case when m.direction = 'in' and c.blocked_at is null
                   and m.occurred_at > now() - interval '6 days'
                 then 1 else 0 end
          from (select distinct on (contact_id) contact_id, occurred_at, direction,
                       max(occurred_at) over (partition by contact_id) as newest
                  from public.messages where state <> 'queued'
                 order by contact_id, coalesce(campaign_id, schedule_id) is not null, occurred_at desc, seq desc) m
         where m.contact_id = c.id
        """
    )


# Each says who wrote what to whom and when: key, contact, is_out, body, kind, place, at, quotes_ours, quotes, template,
# campaign, schedule. By hand: busy on weekdays from nine to six, quiet at night; two in three go out.
_WRITTEN_BY_HAND = """
with chat as materialized (
  select array_agg(id order by session_id, id) as ids, count(*)::integer as n from public.contacts
), drawn as materialized (
  select e, random() as author, random() as luck, floor(random() * 30)::integer as day,
         (array[8,9,9,9,10,10,10,10,11,11,11,12,12,13,13,14,14,14,15,15,15,16,16,16,17,17,18,19,20,22])
           [1 + floor(random() * 30)::integer] as hour, random() * interval '60 minutes' as minute,
         floor(random() * %(dialogues)s)::integer as dialogue
    from generate_series(1, %(count)s) e
), begun as (
  select d.*, (chat.ids)[1 + floor(power(author, 1.5) * chat.n)::integer] as contact,
         least((date_trunc('day', now() at time zone %(zone)s) - day * interval '1 day') at time zone %(zone)s
             + hour * interval '1 hour' + minute,
           now() - interval '30 minutes' - e %% 500 * interval '1 minute') as begins
    from drawn d, chat
), spoken as materialized (
  select b.*, step, (%(lines)s::text[])[dialogue * 3 + step + 1] as line,
         (%(lines)s::text[])[dialogue * 3 + greatest(step, 1)] as before
    from begun b cross join generate_series(0, 2) step
   where extract(isodow from begins at time zone %(zone)s) < 6 or luck < 0.35
)
select 'DEMO' || e * 3 + step as key, contact, line like '>%%' as is_out, substr(line, 2) as body,
       case when place then 'location' else 'chat' end as kind, place,
       begins + step * interval '4 minutes' + (e + step) %% 19 * interval '11 seconds' as occurred_at,
       case when step = 1 and e %% 11 = 0 then before like '>%%' end as quotes_ours,
       'DEMO' || e * 3 as quotes,
       case when step = 0 and dialogue < 4 then dialogue + 1 end as template, null::uuid as campaign,
       null::uuid as schedule
  from spoken cross join lateral (select line like '%%Rua Augusta%%' and e %% 3 = 0) p (place)
"""
_SENT_BY_CAMPAIGN = """
select 'CAMPAIGN' || r.campaign_id || r.seq as key, k.id as contact, true as is_out, v.body, 'chat' as kind,
       false as place, r.released_at as occurred_at, null::boolean as quotes_ours, '' as quotes,
       case c.name when 'Novo horário de atendimento' then 6 else 5 end as template, r.campaign_id as campaign,
       null::uuid as schedule
  from public.campaign_recipients r
  join public.campaigns c on c.id = r.campaign_id
  join public.template_versions v on v.template_id = c.template_id and v.version = c.template_version
  join public.contacts k on k.user_id = r.user_id and k.phone = r.phone
 where r.state = 'released'
"""
_SENT_BY_SCHEDULE = """
select 'SCHEDULE' || s.id || r.local_time || (one ->> 'phone') as key, k.id as contact, true as is_out,
       coalesce(v.body, s.body) as body, 'chat' as kind, false as place, r.due_at as occurred_at,
       null::boolean as quotes_ours, '' as quotes, case when s.template_id is not null then 6 end as template,
       null::uuid as campaign, s.id as schedule
  from public.schedule_runs r
  join public.schedules s on s.id = r.schedule_id
 cross join jsonb_array_elements(s.recipients) one
  join public.contacts k on k.user_id = s.user_id and k.phone = one ->> 'phone'
  left join public.template_versions v on v.template_id = s.template_id and v.version = s.template_version
 where r.state = 'sent'
"""


def _insert_messages(db: psycopg.Connection) -> None:
    """In the order in which they were said, each with an outcome and times that are drawn from its key."""
    db.execute(
        f"""
        insert into public.messages (id, session_id, user_id, direction, state, phone, address, contact_name,
            contact_id, kind, body, detail, quoted_wpp_id, wpp_id, ack, attempts, failure, template_id,
            template_version, campaign_id, schedule_id, occurred_at, run_at, created_at, claimed_at, sending_at,
            accepted_at, sent_at, delivered_at, read_at, ended_at, updated_at)
        with told as materialized (({_WRITTEN_BY_HAND}) union all ({_SENT_BY_CAMPAIGN}) union all
        ({_SENT_BY_SCHEDULE})),
        ended as (
          select t.*, case when not is_out then 'received' when fate < 0.68 then 'read' when fate < 0.88 then
              'delivered' when fate < 0.963 then 'sent' else 'failed' end as state
            from (select *, ('x' || left(md5('fate' || key), 7))::bit(28)::integer / 2.0 ^ 28 as fate,
                         ('x' || left(md5('quick' || key), 7))::bit(28)::integer / 2.0 ^ 28 as quick from told) t
        )
        select md5(t.key)::uuid, c.session_id, c.user_id, case when is_out then 'out' else 'in' end, t.state,
               coalesce(c.phone, c.address), c.address,
               case when is_out or not c.is_group then coalesce(c.name, c.pushname)
                 else (%(people)s::text[])[1 + floor(quick * 25)::integer] end,
               c.id, t.kind, case when place then '' else replace(t.body, '{{{{nome}}}}',
                 split_part(coalesce(c.name, c.pushname), ' ', 1)) end,
               case when place then
                   '{{"lat": -23.5562, "lng": -46.6591, "title": "Loja", "address": "Rua Augusta, 1500"}}'
                 when c.is_group and not is_out then jsonb_build_object('author',
                   '55119' || floor(80000000 + quick * 25)::text || '@c.us') else '{{}}' end::jsonb,
               case when quotes_ours is not null then quotes_ours || '_' || c.address || '_' || quotes end,
               is_out || '_' || c.address || '_' || t.key,
               case t.state when 'read' then 3 when 'delivered' then 2 when 'sent' then 1 else 0 end,
               is_out::integer,
               case t.state when 'failed' then (array['not_on_whatsapp', 'not_on_whatsapp', 'refused',
                 'refused', 'rejected'])[1 + floor(quick * 5)::integer] end,
               x.id, x.version, t.campaign, t.schedule, t.occurred_at, t.occurred_at, t.occurred_at,
               case when is_out then t.occurred_at + quick * interval '2 s' end,
               case when is_out then t.occurred_at + quick * interval '3 s' end,
               case when arrived then t.occurred_at + quick * interval '4 s' end,
               case when arrived then t.occurred_at + quick * interval '6 s' end,
               case when t.state in ('delivered', 'read') then t.occurred_at + quick * interval '90 s' end,
               case when t.state = 'read'
                 then least(t.occurred_at + interval '2 min' + quick * quick * interval '5 h', now()) end,
               case when t.state = 'failed' then t.occurred_at + interval '5 s' end, t.occurred_at
          from ended t
         cross join lateral (select t.state in ('sent', 'delivered', 'read')) a (arrived)
          join public.contacts c on c.id = t.contact
          left join public.templates x on x.id = md5('demo template ' || c.user_id || t.template)::uuid
         order by t.occurred_at
        """,
        {
            "zone": TIME_ZONE,
            # A few fall on weekends and are left out.
            "count": round(MESSAGE_COUNT * 1.23 / 3),
            "lines": [line for dialogue in DIALOGUES for line in dialogue],
            "dialogues": len(DIALOGUES),
            "people": [f"{first} {LAST_NAMES[n % len(LAST_NAMES)]}" for n, first in enumerate(FIRST_NAMES)],
        },
    )


@contextmanager
def _triggers_disabled(db: psycopg.Connection) -> Iterator[None]:
    """Nobody watches yet: no message in the block rings, is filed or forwarded."""
    db.execute("alter table public.messages disable trigger user")
    yield
    db.execute("alter table public.messages enable trigger user")


def create_annotations(db: psycopg.Connection) -> None:
    """A few were answered with an emoji, changed or taken back; those to groups were read by some."""
    db.execute(
        """
        insert into public.message_annotations (session_id, wpp_id, kind, author, user_id, occurred_at, value)
        select session_id, wpp_id, k.kind, author, user_id, m.occurred_at + interval '5 minutes', value
          from (select *, random() as luck from public.messages where wpp_id is not null and state <> 'failed') m
         cross join lateral (
           select 'reaction', case direction when 'in' then 'me' else 'them' end,
                  jsonb_build_object('emoji', (array['👍', '❤️', '😂', '🙏'])[1 + floor(luck * 1000)::integer % 4])
            where luck < 0.02
           union all select 'edit', '', jsonb_build_object('body', body)
            where luck between 0.02 and 0.022 and m.kind = 'chat'
           union all select 'revoke', '', '{}' where luck between 0.022 and 0.023 and direction = 'in'
           union all select 'receipt', '55119' || 80000000 + n || '@c.us', jsonb_build_object('ack', 2 + n % 2)
             from generate_series(1, 5) n where direction = 'out' and address like '%@g.us'
         ) k (kind, author, value)
        """
    )
