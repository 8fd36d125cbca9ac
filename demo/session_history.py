"""The demo's events, timelines and incidents, and the figures of the fleet."""

import psycopg

EVENT_COUNT = 30_000


def create_events(db: psycopg.Connection) -> None:
    """The receiver's log of the last week: mostly acknowledgements, some duplicates, a few that failed."""
    db.execute(
        """
        insert into public.events (received_at, session, kind, dedupe_key, verdict, handled_at, request_id, body,
            attempts,
            error)
        select at, s.session_id, kind, case when verdict <> 'duplicate' then md5('demo event ' || i)::uuid end, verdict,
               case when verdict <> 'failed' then at + (0.02 + luck * luck * luck) * interval '1 s' end,
               md5('demo request ' || i)::uuid, jsonb_build_object('event', kind, 'session', s.session_id, 'ack',
                   3)::text,
               case verdict when 'failed' then 3 else 1 end,
               case verdict when 'failed'
                   then 'services/inbound/handlers.py:42 in on_message' || chr(10) || 'ValueError' end
          from (select i, now() - power(i / %(count)s::double precision, 1.3) * interval '7 days' as at,
                       random() as luck, floor(random() * (select count(*) from public.whatsapp_sessions))::integer
                           as who,
                       (array['onack','onack','onack','onack','onmessage','onmessage','onmessage','status-find',
                        'onpresencechanged','onreactionmessage'])[1 + floor(random() * 10)::integer] as kind
                  from generate_series(1, %(count)s) i) x
          join (select session_id,
              row_number() over (order by id) - 1 as n from public.whatsapp_sessions) s on s.n = who
         cross join lateral (select case when luck < 0.001 then 'failed' when luck < 0.02 then 'duplicate'
                 when kind in ('onpresencechanged') then 'unsupported' else 'handled' end as verdict) v
         order by at
        """,
        {"count": EVENT_COUNT},
    )
    db.execute(
        """
        insert into public.session_hours (session, hour, events, last_at)
        select session, date_trunc('hour', received_at), count(*), max(received_at) from public.events group by 1, 2
        """
    )
    # Or the receiver would find, as it starts, a gap that the sandbox cannot fill.
    db.execute(
        "insert into public.heartbeats (process, instance, beat_at)"
        " values ('receiver', 'demo', now() + interval '10 minutes')"
    )


def create_timelines(db: psycopg.Connection) -> None:
    """How each session was paired, fell a few times and was healed, and came to what it is now."""
    db.execute(
        """
        with fallen as materialized (
          select s.*, now() - interval '13 days' - random() * interval '16 days' as fell, random() as quick
            from public.whatsapp_sessions s where phone_number is not null
        )
        insert into public.session_timeline (session_id, user_id, occurred_at, kind, action, outcome, detail, actor_id)
        select s.id, s.user_id, base + (0.4 + quick) * after, t.kind, action, outcome, detail,
               case t.kind when 'staff' then md5('demo user ' || 1 + floor(quick * 3)::integer)::uuid end
          from fallen s
         cross join lateral (values
           (s.created_at, interval '0 s', 'state', 'pareando', null, '{}'::jsonb),
           (s.created_at, interval '25 s', 'state', 'scanned', null, '{}'),
           (s.created_at, interval '40 s', 'state', 'conectado', null, '{"proof": "webhook"}'),
           (s.fell, interval '0 s', 'health', 'found.zombie', null, '{}'),
           (s.fell, interval '90 s', 'health', 'step.restart', 'ok', '{}'),
           (s.fell, interval '91 s', 'state', 'pareando', null, '{}'),
           (s.fell, interval '140 s', 'state', 'conectado', null, '{"proof": "question"}'),
           (s.fell, interval '150 s', 'health', 'healed.zombie', null, '{}'),
           (s.updated_at - interval '9 minutes', interval '0 s', 'state', 'desconectado', null, '{}'),
           (s.updated_at - interval '60 seconds', interval '0 s', 'staff', 'session.restart', 'ok', '{}'),
           (s.updated_at - interval '60 seconds', interval '1 s', 'state', 'pareando', null, '{}'),
           (s.updated_at, interval '0 s', 'state', s.status, null, jsonb_strip_nulls(jsonb_build_object(
             'failure', s.failure, 'proof', case when s.status = 'conectado' then 'ack' end)))
         ) as t (base, after, kind, action, outcome, detail)
         order by 3
        """
    )


def create_incidents(db: psycopg.Connection) -> None:
    """What is wrong now, and what was in the last month."""
    db.execute(
        """
        insert into public.incidents (session_id, user_id, kind, state, detected_at, steps, acted_at, due_at, ended_at,
            notified_at)
        select id, user_id, (array['zombie', 'dropped', 'silent', 'unacked', 'stuck', 'logged_out', 'not_scanned'])
                 [1 + floor(random() * 7)::integer], case when round % 4 > 0 then 'healed' else 'over' end, at,
               1 + round % 3, at + interval '1 min', at, at + random() * interval '40 minutes', at
          from public.whatsapp_sessions, generate_series(1, 5) round,
               lateral (select now() - interval '2 hours' - random() * interval '28 days' + round * interval '0 s')
                   a (at)
        """
    )
    db.execute(
        """
        insert into public.incidents (session_id, user_id, kind, state, detected_at, steps, due_at, notified_at)
        select id, user_id, case when status = 'pareando' then 'stuck' when status = 'conectado' then
                 (array['silent', 'unacked', 'zombie'])[1 + n % 3] when failure = 'phone_logged_out' then 'logged_out'
                 when failure = 'qr_not_scanned' then 'not_scanned' else 'dropped' end,
               case when status = 'desconectado' then 'needs_phone' when n % 2 = 0 then 'open' else 'needs_person' end,
               now() - n * interval '7 minutes', 2, now() + interval '1 day', now()
          from (select *, row_number() over (partition by status order by id)::integer as n from
              public.whatsapp_sessions) s
         where status <> 'conectado' or n <= 3
        """
    )


def create_fleet_samples(db: psycopg.Connection) -> None:
    """The fleet's figures over the last month, as the worker would have written them down."""
    db.execute(
        """
        insert into public.fleet_samples (sampled_at, figures)
        select sampled_at, jsonb_build_object('conectado', up - dip, 'pareando', 1 + (sin(t / 7000) > 0.6)::integer,
                 'desconectado', 4 + dip, 'unproven', (sin(t / 9000) > 0.8)::integer,
                 'silent', (sin(t / 11000) > 0.7)::integer)
          from generate_series(date_bin('5 minutes', now(), 'epoch') - interval '30 days',
                 date_bin('5 minutes', now(), 'epoch') - interval '5 minutes', interval '5 minutes') sampled_at,
               (select count(*)::integer as up from public.whatsapp_sessions where status = 'conectado') s,
               lateral (select extract(epoch from sampled_at)) e (t),
               lateral (
                 select case when extract(hour from sampled_at) = 4
                     then 6 else (sin(t / 5000) > 0.7)::integer end) d (dip)
        """
    )


def create_outages(db: psycopg.Connection) -> None:
    """When the receiver, a server or a session was away, and how much came back."""
    db.execute(
        """
        insert into public.outages (id, session_id, user_id, from_at, to_at, reason, state, attempts, listed_at, chats,
            recovered, failed, failure, created_at, done_at)
        select md5('demo outage ' || s.id || reason)::uuid, s.id, s.user_id, began, began + lasted, reason, state, 1,
               began + lasted, 4 + n % 5, n % every, case when g.failure is not null then 1 else 0 end, g.failure,
               began + lasted, began + lasted + interval '40 s'
          from (select *, row_number() over (order by id)::integer as n from public.whatsapp_sessions
                 where status = 'conectado') s
         cross join lateral (values
           ('receiver', now() - interval '9 days', interval '4 minutes', 'done', 4, null),
           ('server', now() - interval '16 days', interval '21 minutes', 'done', 9, null),
           ('session', s.connected_at - interval '9 minutes', interval '9 minutes', 'done', 7,
             case when n % 6 = 1 then 'too_deep' end),
           ('database', now() - interval '5 days', interval '2 hours', 'failed', 1, 'wppconnect_inacessivel')
         ) as g (reason, began, lasted, state, every, failure)
         where reason <> 'database' or n % 6 = 1
        """
    )
    db.execute(
        """
        insert into public.outage_chats (outage_id, address, user_id, state, failure)
        select g.id, c.address, g.user_id, 'failed', g.failure
          from public.outages g
         cross join lateral (select address from public.contacts where session_id = g.session_id
                order by id limit 1) c
         where g.failed > 0
        """
    )
