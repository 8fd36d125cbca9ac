"""What the demo's staff did, and the API keys and retention runs beside it."""

import psycopg


def create_audit_log(db: psycopg.Connection) -> None:
    """A month of staff at work; the chain's trigger gives each record its hash."""
    db.execute(
        """
        insert into public.audit_log (occurred_at, actor_id, actor_role, action, subject, detail)
        select now() - (400 - i) * interval '107 minutes', md5('demo user ' || 1 + i % 3)::uuid,
               case i % 3 when 0 then 'admin' else 'operator' end, action,
               case when action like 'session%' or action like 'glass%' then 'user_' else '' end
                 || md5('demo user ' || 4 + i % 46)::uuid,
               case action when 'user.role' then '{"role": "operator"}'::jsonb when 'glass.break'
                 then '{"scope": "qr", "reason": "chamado 4711, a pessoa pediu ajuda", "minutes": 15}' else '{}' end
          from (select i, (array['session.restart', 'session.connect', 'session.disconnect', 'event.replay',
              'user.invite',
                  'user.reset', 'session.close', 'glass.break', 'glass.mend', 'user.role', 'session.move'])
                  [1 + floor(random() * 11)::integer] as action from generate_series(1, 400) i) x
         order by i
        """
    )


def create_security_events(db: psycopg.Connection) -> None:
    """Wrong passwords, refused pages, and somebody who tried webhook secrets."""
    db.execute(
        """
        insert into public.security_events (occurred_at, kind, subject, ip, actor_id)
        select now() - (150 - i) * interval '280 minutes', (array['api_refused', 'webhook_refused', 'page_refused',
                 'rate_limited', 'api_refused'])[1 + floor(random() * 5)::integer],
               case when i % 4 = 0 then '/audit' else 'demo' || i % 17 || '@example.com' end,
               '203.0.113.' || i % 9 + 20, null
          from generate_series(1, 150) i
        """
    )


def create_api_keys(db: psycopg.Connection) -> None:
    """A few people let their programs send."""
    db.execute(
        """
        insert into public.api_keys (user_id, name, scopes, prefix, secret_hash, created_at, last_used_at, expires_at,
            revoked_at)
        select user_id, (array['ERP da loja', 'Site', 'Agenda'])[1 + n % 3], '{read,send}', 'pk_demo' || n,
               sha256(gen_random_uuid()::text::bytea), now() - interval '25 days',
               case when n % 3 > 0 then now() - n * interval '31 minutes' end,
               case when n % 2 = 0 then now() + interval '60 days' end, case when n % 7 = 0 then now() end
          from (select user_id, row_number() over (order by id)::integer as n from public.whatsapp_sessions
                 where status = 'conectado') s where n % 3 = 0 or user_id = md5('demo user 1')::uuid
        """
    )


def create_retention_runs(db: psycopg.Connection) -> None:
    """The hourly clean-up of the last three days."""
    db.execute(
        """
        insert into public.cleanup_runs (kinds, counts, created_at, started_at, finished_at)
        select '{codes,events,heartbeats,jobs}', jsonb_build_object('events', (random() * 900)::integer,
                 'codes', (random() * 3)::integer), started_at, started_at, started_at + random() * interval '4 s'
          from generate_series(now() - interval '72 hours', now() - interval '30 minutes', interval '1 hour') started_at
        """
    )
