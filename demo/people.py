"""The demo's people: users, sessions, contacts, opt-outs and templates."""

import psycopg

from demo.texts import FIRST_NAMES, LAST_NAMES, SHARED_TEMPLATES, TEMPLATES
from services import settings
from services.accounts import credentials

PASSWORD = "demonstracao"
DOMAIN = "demo.plushify.local"
ADMIN_EMAIL = f"admin@{DOMAIN}"
USER_COUNT = 50


def create_users(db: psycopg.Connection) -> None:
    """An admin, two operators, and people who send."""
    names = ["Ana Chefe"] + [
        f"{FIRST_NAMES[n % len(FIRST_NAMES)]} {LAST_NAMES[(n * 7 + n // 25) % len(LAST_NAMES)]}"
        for n in range(1, USER_COUNT)
    ]
    db.execute(
        """
        insert into auth.users (id, email, encrypted_password, raw_app_meta_data, raw_user_meta_data, created_at,
            updated_at, last_sign_in_at)
        select md5('demo user ' || n)::uuid,
               case n when 1 then %(admin)s
                 else translate(replace(lower(name), ' ', '.'), 'áâãéêíóôõúç', 'aaaeeiooouc') || '.' || n
                   || '@' || %(domain)s end,
               %(hash)s,
               jsonb_build_object('role', case when n = 1 then 'admin' when n <= 3 then 'operator' else 'user' end),
               jsonb_build_object('name', name), now() - interval '70 days' + n * interval '18 hours', now(),
               case when n %% 9 <> 0 then now() - random() * interval '6 days' end
          from unnest(%(names)s::text[]) with ordinality as p (name, n)
        """,
        {"admin": ADMIN_EMAIL, "domain": DOMAIN, "hash": credentials.hash_password(PASSWORD), "names": names},
    )
    db.execute(
        "insert into public.accounts (user_id, name, active) select id, raw_user_meta_data ->> 'name',"
        " id <> md5('demo user 47')::uuid from auth.users"
    )


def create_sessions(db: psycopg.Connection) -> None:
    """Most are up; a few pair, have ended for different reasons, or were never connected. The admin sends too."""
    db.execute(
        """
        insert into public.whatsapp_sessions (id, user_id, session_id, status, server_url, created_at, updated_at,
            connected_at, last_activity, phone_number, device_name, reported_state, reported_at, last_proof_at,
            last_proof_kind, desired_connected, failure, pairing_started_at, probed_at)
        select md5('demo session ' || n)::uuid, u.id, 'user_' || u.id, s.status, %(server)s, u.created_at, s.changed,
               case when up then s.changed end, now() - random() * interval '2 hours',
               case when s.status <> 'pareando' then '55' || (array[11, 21, 31, 41, 51, 71])[1 + n %% 6]
                 || '9' || lpad((81234567 + n * 104729)::text, 8, '0') end,
               case when up then (array['Galaxy A54', 'iPhone 14', 'Moto G84', 'Redmi Note 13'])[1 + n %% 4] end,
               case s.status when 'conectado' then 'CONNECTED' when 'pareando' then 'QRCODE' else 'CLOSED' end, now(),
               case when up then now() - random() * interval '4 minutes' end,
               case when up then (array['ack', 'message', 'question', 'webhook'])[1 + n %% 4] end, up,
               case when s.status = 'desconectado' then (array['phone_logged_out', 'qr_not_scanned',
                   'browser_closed'])[1 + n %% 3]
                 end,
               s.changed, case when up then now() end
          from (select *, row_number() over (order by created_at) as n from auth.users) u
         cross join lateral (select case when n %% 11 = 0 then 'desconectado' when n %% 23 = 0 then 'pareando'
                 else 'conectado' end as status, now() - random() * interval '12 days' as changed) s
         cross join lateral (select s.status = 'conectado') c (up)
         where (n = 1 or n > 3) and n %% 16 <> 0
        """,
        {"server": next(iter(settings.get().wppconnect.servers()))},
    )
    db.execute("insert into public.lanes (session_id) select id from public.whatsapp_sessions")


def create_contacts(db: psycopg.Connection) -> None:
    """Some hundred people for each session, a few known by their anonymous id only, and two groups."""
    db.execute(
        """
        insert into public.contacts (id, session_id, user_id, address, phone, lid, name, pushname, notes, labels,
            blocked_at, created_at)
        select md5(s.id || p.phone)::uuid, s.id, s.user_id, coalesce(p.lid, p.phone || '@c.us'),
               case when c % 50 > 0 then p.phone end, p.lid, case when c % 3 > 0 then p.name end, p.name,
               case when c % 17 = 0 then 'Prefere ser atendida à tarde.' else '' end,
               case c % 9 when 0 then '{cliente}'::text[] when 1 then '{fornecedor}' else '{}' end,
               case when c % 61 = 0 then now() - interval '9 days' end, now() - interval '30 days'
          from (select *, row_number() over (order by id) as n from public.whatsapp_sessions) s
         cross join generate_series(1, 100) c
         cross join lateral (select
             '55' || (array[11, 19, 21, 27, 31, 41, 47, 51, 61, 71, 81, 85])[1 + (c * 5 + n) % 12]::text
               || '9' || lpad((((n * 977 + c * 15485863) % 89999999) + 10000000)::text, 8, '0') as phone,
             (array['Marcos', 'Júlia', 'Renato', 'Beatriz', 'Sérgio', 'Camila', 'André', 'Letícia', 'Otávio', 'Paula'])
               [1 + (c * 3 + n) % 10] || ' ' || (array['Teixeira', 'Barros', 'Freitas', 'Cunha', 'Melo', 'Ramos',
               'Farias', 'Peixoto'])[1 + (c * 7 + n) % 8] as name,
             case when c % 25 = 0 then (100000000000000 + n * 7919 + c * 104729)::text || '@lid' end as lid) p
        on conflict do nothing
        """
    )
    db.execute(
        """
        insert into public.contacts (id, session_id, user_id, address, is_group, name, created_at)
        select md5(s.id || g.name)::uuid, s.id, s.user_id,
               '120363' || lpad((n * 7919 + g.place)::text, 12, '0') || '@g.us', true, g.name,
               now() - interval '30 days'
          from (select *, row_number() over (order by id) as n from public.whatsapp_sessions) s
         cross join unnest(array['Equipe da loja', 'Entregas da região']) with ordinality as g (name, place)
        """
    )
    db.execute(
        """
        insert into public.number_checks (session_id, user_id, phone, on_whatsapp, address, asked_at, checked_at,
            confirmed_at, fresh_until)
        select session_id, user_id, phone, yes, case when yes then address end, asked, asked,
               case when yes then asked end,
               asked + case when yes then interval '30 days' else interval '1 day' end
          from (select *, random() < 0.96 as yes, now() - random() * interval '20 days' as asked from public.contacts
                 where phone is not null and random() < 0.6) c
        """
    )


def create_opt_outs(db: psycopg.Connection) -> None:
    """A few asked to be left alone, most of them by a word."""
    db.execute(
        """
        insert into public.opt_outs (user_id, phone, created_at, said_at, trigger_word)
        select user_id, phone, said, said, (array['SAIR', 'PARAR', null])[1 + floor(random() * 3)::integer]
          from (select user_id, phone, now() - random() * interval '20 days' as said
                  from public.contacts where phone is not null and random() < 0.012) c
        on conflict do nothing
        """
    )


def create_templates(db: psycopg.Connection) -> None:
    """Everybody who sends has the same six, one of them in its second version; staff share two more."""
    db.execute(
        """
        insert into public.templates (id, user_id, shared, name, version, created_at, updated_at, archived_at)
        select md5('demo template ' || user_id || place)::uuid, user_id, shared, name,
               case when place = 4 then 2 else 1 end, now() - interval '40 days', now() - interval '35 days',
               case when place = 3 and n %% 4 = 0 then now() - interval '2 days' end
          from (select user_id, name, place, false, row_number() over (partition by place order by user_id)
                  from public.whatsapp_sessions, unnest(%(names)s::text[]) with ordinality as t (name, place)
                union all
                select id, name, place + 100, true, 1 from auth.users,
                       unnest(%(shared)s::text[]) with ordinality as t (name, place) where email = %(admin)s)
            as x (user_id, name, place, shared, n)
        """,
        {
            "names": [name for name, _body in TEMPLATES],
            "shared": [name for name, _body in SHARED_TEMPLATES],
            "admin": ADMIN_EMAIL,
        },
    )
    db.execute(
        """
        insert into public.template_versions (template_id, version, user_id, kind, body, created_at, created_by)
        select t.id, v, t.user_id, 'chat',
               case when v < t.version then replace(x.body, ' Se já pagou, desconsidere.', '') else x.body end,
               now() - interval '40 days' + (v - 1) * interval '5 days', t.user_id
          from public.templates t
          join unnest(%(names)s::text[], %(bodies)s::text[]) as x (name, body) using (name)
         cross join lateral generate_series(1, t.version) v
        """,
        {
            "names": [name for name, _body in TEMPLATES + SHARED_TEMPLATES],
            "bodies": [body for _name, body in TEMPLATES + SHARED_TEMPLATES],
        },
    )
