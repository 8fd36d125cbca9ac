"""The demo's campaigns and schedules, with their recipients and runs."""

import psycopg

from demo.people import ADMIN_EMAIL
from demo.texts import TIME_ZONE
from services import settings


def create_campaigns(db: psycopg.Connection) -> None:
    """One that ended for everybody, one under way or held, drafts, and some that were cancelled."""
    configured = settings.get().campaigns
    db.execute(
        """
        insert into public.campaigns (id, user_id, name, template_id, template_version, state, opens, closes, cap,
            cold_share, pace, created_at, started_at, ended_at, swept_at)
        select md5('demo campaign ' || user_id || place)::uuid, user_id, name,
               md5('demo template ' || user_id || template)::uuid, 1,
               case when state = 'active' and n %% 3 <> 0 and not chief then 'paused' else state end,
               %(opens)s, %(closes)s, case state when 'active' then least(50, %(cap)s) else %(cap)s end,
               %(cold)s, %(pace)s, begun, case when state <> 'draft' then begun end,
               case when state in ('ended', 'cancelled') then begun + interval '3 hours' end,
               case when state = 'cancelled' then begun + interval '3 hours' end
          from (select s.user_id, u.email = %(admin)s as chief, row_number() over (order by s.id) as n
                  from public.whatsapp_sessions s join auth.users u on u.id = s.user_id where s.status = 'conectado') s
         cross join lateral (values
           (1, 'Novo horário de atendimento', 6, 'ended', date_trunc('day', now()) - interval '12 days 10 hours'),
           (2, 'Promoção da semana', 5, 'active', now() - interval '5 hours'),
           (3, 'Clientes que sumiram', 5, 'draft', now() - interval '1 day'),
           (4, 'Lista antiga', 5, 'cancelled', now() - interval '6 days 4 hours')
         ) as c (place, name, template, state, begun)
         where chief or n %% 4 < 2 or place = 1
        """,
        {
            "opens": configured.opens,
            "closes": configured.closes,
            "cap": configured.daily_cap,
            "cold": configured.cold_share,
            "pace": configured.pace_seconds,
            "admin": ADMIN_EMAIL,
        },
    )
    db.execute(
        """
        insert into public.campaign_recipients (campaign_id, user_id, seq, phone, name, cold, state, reason,
            released_at)
        select c.id, c.user_id, p.seq, p.phone, p.name, p.seq % 3 = 0,
               case when due and p.silent then 'skipped' when due then 'released'
                 when c.state = 'cancelled' then 'cancelled' else 'waiting' end,
               case when due and p.silent then 'opted_out' end,
               case when due and not p.silent then c.started_at + p.seq * interval '75 s' end
          from public.campaigns c
          join (select k.user_id, k.phone, k.pushname as name, o.phone is not null as silent,
                       row_number() over (partition by k.session_id order by k.id) as seq
                  from public.contacts k left join public.opt_outs o on o.user_id = k.user_id and o.phone = k.phone
                 where k.phone is not null) p on p.user_id = c.user_id
         cross join lateral (select case c.state when 'ended' then true when 'draft' then false
                 else p.seq <= 55 end) d (due)
        """
    )
    # Today's allowance is used up: nothing leaves before tomorrow.
    db.execute(
        """
        insert into public.campaign_lanes (user_id, time_zone, next_check_at, waiting_reason, phone_number,
            warmup_started_at)
        select s.user_id, %(zone)s,
               (date_trunc('day', now() at time zone %(zone)s) + interval '1 day' + %(opens)s::time)
                 at time zone %(zone)s, 'cap', s.phone_number, s.created_at
          from public.whatsapp_sessions s
         where exists (select from public.campaigns c where c.user_id = s.user_id and c.state = 'active')
        """,
        {"zone": TIME_ZONE, "opens": configured.opens},
    )


def create_schedules(db: psycopg.Connection) -> None:
    """For everybody who sends one a day, one a week, one that is held, one still to come and one that is over."""
    db.execute(
        """
        insert into public.schedules (id, user_id, name, time_zone, first_local_time, rule, body, template_id,
            template_version,
            recipients, next_local_time, next_at, next_check_at, paused_at, ended_at, created_at)
        select md5('demo schedule ' || s.user_id || place)::uuid, s.user_id, d.name, %(zone)s, first, rule, body,
               case when place = 2 then md5('demo template ' || s.user_id || 6)::uuid end,
               case when place = 2 then 1 end, p.recipients, next, next at time zone %(zone)s,
               case when place <> 3 then next at time zone %(zone)s end,
               case when place = 3 then now() - interval '5 days' end,
               case when next is null then first at time zone %(zone)s end,
               least(first at time zone %(zone)s, now()) - interval '1 day'
          from public.whatsapp_sessions s
         cross join lateral (select date_trunc('day', now() at time zone %(zone)s)) t (today)
         cross join lateral (
                select jsonb_agg(jsonb_build_object('phone', phone, 'name', pushname, 'values', '{}'::jsonb))
                  from (select phone, pushname from public.contacts where session_id = s.id and phone is not null
                         order by id limit 3) k) p (recipients)
         cross join lateral (values
           (1, 'Pesquisa depois da compra', today - interval '14 days' + time '17:30', 'FREQ=DAILY',
             'Como foi a sua compra? Responda de 0 a 10.', today + interval '1 day' + time '17:30'),
           (2, 'Horário da semana', date_trunc('week', today) - interval '28 days' + time '09:00',
             'FREQ=WEEKLY;BYDAY=MO', '', date_trunc('week', today) + interval '7 days' + time '09:00'),
           (3, 'Bom dia da equipe', today - interval '20 days' + time '08:00', 'FREQ=DAILY',
             'Bom dia! Quem abre a loja hoje?', today + interval '1 day' + time '08:00'),
           (4, 'Aviso de feriado', today + interval '3 days' + time '10:00', null,
             'Na sexta não abrimos. Voltamos no sábado às 9h.', today + interval '3 days' + time '10:00'),
           (5, 'Convite para a inauguração', today - interval '6 days' + time '10:00', null,
             'Hoje às 19h inauguramos a loja nova. Esperamos você!', null)
         ) as d (place, name, first, rule, body, next)
         where s.status = 'conectado'
        """,
        {"zone": TIME_ZONE},
    )
    db.execute(
        """
        insert into public.schedule_runs (schedule_id, user_id, local_time, due_at, state, reason, message_ids,
            decided_at)
        select id, user_id, local_time, due_at, state,
               case state when 'missed' then (array['disconnected', 'late'])[1 + k %% 2] end,
               case when state = 'sent' then array(
                   select md5('SCHEDULE' || id || local_time || (one ->> 'phone'))::uuid
                     from jsonb_array_elements(recipients) one) else '{}' end, due_at
          from (select s.*, local_time, local_time at time zone %(zone)s as due_at, k,
                       case when rule is null then 'sent' when k %% 5 = 3 then 'missed' when k %% 9 = 6 then 'skipped'
                         else 'sent' end as state
                  from public.schedules s
                 cross join lateral generate_series(first_local_time, coalesce(paused_at, now()) at time zone %(zone)s,
                   case when rule is null then interval '1 year' when rule like '%%WEEKLY%%' then interval '7 days'
                     else interval '1 day' end) with ordinality as w (local_time, k)) r
        """,
        {"zone": TIME_ZONE},
    )
