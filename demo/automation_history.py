"""The demo's automations and webhook endpoints, and what they did."""

import psycopg

from demo.people import ADMIN_EMAIL
from demo.texts import TIME_ZONE


def create_automations(db: psycopg.Connection) -> None:
    """An automatic reply outside the hours, a label by words, and what they did in the last days."""
    db.execute(
        """
        insert into public.automations (id, user_id, kind, active, reply, time_zone, hours, words, label, created_at)
        select md5('demo rule ' || user_id || r.kind)::uuid, user_id, r.kind, true, reply, time_zone, hours, words,
            label,
               now() - interval '25 days'
          from public.whatsapp_sessions cross join (values
            ('auto_reply', 'Recebemos a sua mensagem e respondemos no próximo horário de atendimento.', %(zone)s,
              '[["08:00", "18:00"], ["08:00", "18:00"], ["08:00", "18:00"], ["08:00", "18:00"], ["08:00", "18:00"],
                ["09:00", "13:00"], null]'::jsonb, null, null),
            ('label', null, null, null, '{valor,orçamento,preço}'::text[], 'interessado')
          ) as r (kind, reply, time_zone, hours, words, label)
         where status = 'conectado'
        """,
        {"zone": TIME_ZONE},
    )
    db.execute(
        """
        insert into public.automation_uses (automation_id, user_id, contact_id, message_id, day, action, occurred_at)
        select r.id, r.user_id, m.contact_id, m.id, (m.occurred_at at time zone %(zone)s)::date,
               case r.kind when 'label' then 'labelled' else (array['replied', 'replied', 'replied', 'opted_out',
                 'automatic'])[1 + m.seq %% 5] end, m.occurred_at
          from public.automations r join public.messages m on m.user_id = r.user_id and m.direction = 'in'
           and m.occurred_at > now() - interval '10 days'
         where case r.kind when 'label' then m.body like '%%valor%%'
                 else extract(hour from m.occurred_at at time zone %(zone)s) not between 8 and 17 end
         order by m.occurred_at
        on conflict do nothing
        """,
        {"zone": TIME_ZONE},
    )
    db.execute(
        "update public.contacts set labels = labels || '{interessado}' where id in ("
        " select contact_id from public.automation_uses where action = 'labelled')"
    )


def create_endpoints(db: psycopg.Connection) -> None:
    """The systems that hear of it: those of a few, one of them turned off, and one that hears everybody's."""
    db.execute(
        """
        insert into public.webhook_endpoints (id, user_id, url, secret, kinds, active, off_reason, failing_since,
            created_at)
        select md5('demo endpoint ' || coalesce(user_id::text, '') || on_now)::uuid, user_id, url,
               'whsec_' || encode(sha256(gen_random_uuid()::text::bytea), 'base64'),
               '{message.received,message.state,session.status}', on_now, case when not on_now then 'failing' end,
               case when not on_now then now() - interval '6 days' end, now() - interval '25 days'
          from (select s.user_id, 'https://erp.loja.example/whatsapp', true
                  from public.whatsapp_sessions s where s.status = 'conectado'
                union all
                select s.user_id, 'https://antigo.loja.example/hook', false
                  from public.whatsapp_sessions s join auth.users u on u.id = s.user_id
                 where s.status = 'conectado' and (u.email = %(admin)s or s.id::text < '4')
                union all
                select null, 'https://painel.plushify.example/eventos', true) as x (user_id, url, on_now)
        """,
        {"admin": ADMIN_EMAIL},
    )
    db.execute(
        """
        insert into public.webhook_deliveries (endpoint_id, user_id, kind, new_state, message_id, session_id, state,
            attempts,
            last_status, last_error, created_at, tried_at, done_at, dead_at)
        select e.id, e.user_id, case m.direction when 'in' then 'message.received' else 'message.state' end, m.state,
               m.id, m.session_id, t.state, case t.state when 'done' then 1 when 'dead' then 10 else 0 end,
               case t.state when 'done' then 200 when 'dead' then 500 end, null, m.occurred_at,
               case when t.state <> 'waiting' then m.occurred_at + interval '1 s' end,
               case when t.state = 'done' then m.occurred_at + interval '1 s' end,
               case when t.state = 'dead' then least(m.occurred_at + interval '3 days', now()) end
          from public.webhook_endpoints e
         cross join lateral (
           select * from public.messages m where m.user_id = coalesce(e.user_id, md5('demo user 4')::uuid)
              and m.occurred_at < now() - case when e.active then interval '0' else interval '6 days' end
            order by m.run_at desc limit 120) m
         cross join lateral (select case when not e.active then 'waiting' when m.seq % 41 = 0 then 'dead'
                else 'done' end) t (state)
         order by m.occurred_at
        """
    )
