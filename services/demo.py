"""A believable month in an empty installation, so that every page can be judged with data in it.

Each kind of data is one function of one or a few statements over whole sets; `KINDS` is their order. What looks random
comes from a fixed seed, so that two demos differ only in their moments, which end now.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog

from services import identity, rollups, settings
from services.db.engine import CONNECT_TIMEOUT_SECONDS, psycopg_url
from services.errors import ConfigurationError, DemoRefused

log = structlog.get_logger(__name__)

PASSWORD = "demonstracao"
DOMAIN = "demo.plushify.local"
ADMIN = f"admin@{DOMAIN}"
PEOPLE = 50
MESSAGES = 200_000
EVENTS = 30_000
SEED = 0.2026
FIRST = ("Ana", "Bruno", "Carla", "Diego", "Elisa", "Fábio", "Gabriela", "Hugo", "Isabel", "João", "Karina", "Lucas",
         "Marina", "Nelson", "Olívia", "Paulo", "Quitéria", "Rafael", "Sofia", "Tiago", "Ursula", "Vítor", "Wanda",
         "Xavier", "Yara")  # fmt: skip
LAST = ("Souza", "Lima", "Dias", "Rocha", "Prado", "Nunes", "Alves", "Castro", "Moraes", "Pinto")
ZONE = "America/Sao_Paulo"
# Three messages each, out (>) and in (<). The first four begin with the template of the same number.
DIALOGUES = (
    (">Bom dia, {{nome}}! Seu pedido saiu para entrega e chega até as 18h.", "<Que bom, obrigada!",
     ">De nada! Qualquer dúvida é só responder aqui."),
    (">Olá, {{nome}}! Sua consulta está confirmada para amanhã às 15h.", "<Pode ser às 16h?",
     ">Pode sim, já mudei para as 16h."),
    (">Oi, {{nome}}! O produto que você pediu está separado.", "<Vocês abrem no sábado?", ">Abrimos, das 9h às 13h."),
    (">Olá, {{nome}}. Seu boleto vence em 3 dias. Se já pagou, desconsidere.", "<Já paguei hoje cedo",
     ">Recebido, obrigada!"),
    ("<Bom dia, qual o valor do frete?", ">Bom dia! Para a sua região são R$ 18,90.",
     ">Se fechar hoje, sai amanhã cedo."),
    ("<Ainda não recebi meu pedido", ">Vou verificar agora mesmo.",
     ">Está com a transportadora e chega hoje até as 18h."),
    (">Temos horário livre na quinta à tarde. Posso reservar?", "<Pode ser na sexta?",
     ">Na sexta tenho às 10h. Confirmo?"),
    (">Sua encomenda chegou à loja.", ">Ela fica guardada por 7 dias.", "<👍"),
    (">Segue o orçamento que combinamos. Ele vale por 10 dias.", "<Tem na cor azul?",
     ">Tem sim! O valor é o mesmo."),
    ("<Onde fica a loja?", ">Estamos na Rua Augusta, 1500.", "<Perfeito, obrigada!"),
)  # fmt: skip
# By their numbers messages, schedules and campaigns name them.
TEMPLATES = (
    ("Pedido a caminho", DIALOGUES[0][0][1:]),
    ("Consulta confirmada", DIALOGUES[1][0][1:]),
    ("Produto separado", DIALOGUES[2][0][1:]),
    ("Lembrete de boleto", DIALOGUES[3][0][1:]),
    ("Promoção da semana", "Oi, {{nome}}! Esta semana tudo está com 15% de desconto. Quer ver as novidades?"),
    ("Novo horário", "Olá, {{nome}}! A partir de segunda atendemos das 8h às 20h."),
)
SHARED = (
    ("Boas-vindas", "Olá, {{nome}}! Que bom ter você aqui. Responda SAIR se não quiser receber mais."),
    ("Pesquisa de satisfação", "Oi, {{nome}}! De 0 a 10, quanto você nos indicaria a um amigo?"),
)

# (kinds done, of how many, the one under way)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Demo:
    """What was made: rows by table, and with which e-mail to sign in. The password is `PASSWORD` for everybody."""

    rows: dict[str, int]
    email: str = ADMIN


def fill(on_progress: Progress | None = None) -> Demo | None:
    """Fill an empty installation in one transaction, and count its figures; None where a demo is there already.

    Raises DemoRefused where anybody real is in it, or its owner cannot write for others.
    """
    url = settings.get().database_url
    if url is None:
        raise ConfigurationError("DATABASE_URL is missing")
    conninfo = psycopg_url(url.get_secret_value())
    with psycopg.connect(conninfo, connect_timeout=CONNECT_TIMEOUT_SECONDS) as db:
        if not _is_empty(db):
            return None
        for number, (name, kind) in enumerate(KINDS.items()):
            (on_progress or _silently)(number, len(KINDS) + 1, name)
            db.execute("select setseed(%s)", [SEED])
            kind(db)
        rows = {name: _count(db, name) for name in KINDS}
        # As migration 0032 does it for what is there already: where this ends here, the worker counts. In their order,
        # so that everybody's quarter is summed once.
        db.execute(
            "insert into public.report_dirty (user_id, quarter)"
            " select distinct user_id, app.quarter_of(run_at) as quarter from public.messages order by quarter"
        )
    with psycopg.connect(conninfo, autocommit=True) as db:
        db.execute("analyze")  # the pages' plans hang on it
    (on_progress or _silently)(len(KINDS), len(KINDS) + 1, "report_figures")
    while rollups.fold():
        pass
    (on_progress or _silently)(len(KINDS) + 1, len(KINDS) + 1, "")
    log.info("demo_filled", **rows)
    return Demo(rows)


def _is_empty(db: psycopg.Connection) -> bool:
    """False where a demo fills it already."""
    known = db.execute(
        "select count(*), count(*) filter (where email like %s) from auth.users", [f"%@{DOMAIN}"]
    ).fetchone()
    assert known is not None
    if known[0] != known[1]:
        raise DemoRefused("there are real users in this installation; the demo wants one of its own (another DATA_DIR)")
    ours = db.execute(
        "select pg_has_role(c.relowner, 'member') and not (select bool_or(row_security_active(t.oid)) from pg_class t"
        " where t.relkind = 'r' and t.relnamespace = 'public'::regnamespace)"
        " from pg_class c where c.oid = 'auth.users'::regclass"
    ).fetchone()
    if ours != (True,):
        raise DemoRefused("the owner in DATABASE_URL may not write for everybody; use the embedded database")
    return bool(known[0] == 0)


# --- who --------------------------------------------------------------------------------------------------------------


def users(db: psycopg.Connection) -> None:
    """An admin, two operators, and people who send."""
    names = ["Ana Chefe"] + [f"{FIRST[n % len(FIRST)]} {LAST[(n * 7 + n // 25) % len(LAST)]}" for n in range(1, PEOPLE)]
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
        {"admin": ADMIN, "domain": DOMAIN, "hash": identity.hash_password(PASSWORD), "names": names},
    )
    db.execute(
        "insert into public.accounts (user_id, name, active) select id, raw_user_meta_data ->> 'name',"
        " id <> md5('demo user 47')::uuid from auth.users"
    )


def whatsapp_sessions(db: psycopg.Connection) -> None:
    """Most are up; a few pair, have ended for different reasons, or were never connected. The admin sends too."""
    db.execute(
        """
        insert into public.whatsapp_sessions (id, user_id, session_id, status, server_url, created_at, updated_at,
            connected_at, last_activity, phone_number, device_name, reported_state, reported_at, last_proof_at,
            last_proof_kind, wants_up, failure, pairing_started_at, probed_at)
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
        {"server": next(iter(settings.get().servers()))},
    )
    db.execute("insert into public.lanes (session_id) select id from public.whatsapp_sessions")


def contacts(db: psycopg.Connection) -> None:
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
        select session_id, user_id, phone, yes, case when yes then address end, at, at, case when yes then at end,
               at + case when yes then interval '30 days' else interval '1 day' end
          from (select *, random() < 0.96 as yes, now() - random() * interval '20 days' as at from public.contacts
                 where phone is not null and random() < 0.6) c
        """
    )


def opt_outs(db: psycopg.Connection) -> None:
    """A few asked to be left alone, most of them by a word."""
    db.execute(
        """
        insert into public.opt_outs (user_id, phone, at, word)
        select user_id, phone, now() - random() * interval '20 days',
               (array['SAIR', 'PARAR', null])[1 + floor(random() * 3)::integer]
          from public.contacts where phone is not null and random() < 0.012
        on conflict do nothing
        """
    )


def templates(db: psycopg.Connection) -> None:
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
        {"names": [name for name, _body in TEMPLATES], "shared": [name for name, _body in SHARED], "admin": ADMIN},
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
            "names": [name for name, _body in TEMPLATES + SHARED],
            "bodies": [body for _name, body in TEMPLATES + SHARED],
        },
    )


# --- what is sent by itself -------------------------------------------------------------------------------------------


def campaigns(db: psycopg.Connection) -> None:
    """One that ended for everybody, one under way or held, drafts, and some that were cancelled."""
    configured = settings.get()
    db.execute(
        """
        insert into public.campaigns (id, user_id, name, template_id, template_version, state, opens, closes, cap,
            cold_share, pace, created_at, started_at, ended_at, swept_at)
        select md5('demo campaign ' || user_id || place)::uuid, user_id, name,
               md5('demo template ' || user_id || template)::uuid, 1,
               case when state = 'ativa' and n %% 3 <> 0 and not chief then 'pausada' else state end,
               %(opens)s, %(closes)s, case state when 'ativa' then least(50, %(cap)s) else %(cap)s end,
               %(cold)s, %(pace)s, begun, case when state <> 'rascunho' then begun end,
               case when state in ('terminada', 'cancelada') then begun + interval '3 hours' end,
               case when state = 'cancelada' then begun + interval '3 hours' end
          from (select s.user_id, u.email = %(admin)s as chief, row_number() over (order by s.id) as n
                  from public.whatsapp_sessions s join auth.users u on u.id = s.user_id where s.status = 'conectado') s
         cross join lateral (values
           (1, 'Novo horário de atendimento', 6, 'terminada', date_trunc('day', now()) - interval '12 days 10 hours'),
           (2, 'Promoção da semana', 5, 'ativa', now() - interval '5 hours'),
           (3, 'Clientes que sumiram', 5, 'rascunho', now() - interval '1 day'),
           (4, 'Lista antiga', 5, 'cancelada', now() - interval '6 days 4 hours')
         ) as c (place, name, template, state, begun)
         where chief or n %% 4 < 2 or place = 1
        """,
        {
            "opens": configured.campaign_opens,
            "closes": configured.campaign_closes,
            "cap": configured.campaign_daily_cap,
            "cold": configured.campaign_cold_share,
            "pace": configured.campaign_pace_seconds,
            "admin": ADMIN,
        },
    )
    db.execute(
        """
        insert into public.campaign_recipients (campaign_id, user_id, seq, phone, name, cold, state, reason,
            released_at)
        select c.id, c.user_id, p.seq, p.phone, p.name, p.seq % 3 = 0,
               case when due and p.silent then 'skipped' when due then 'released'
                 when c.state = 'cancelada' then 'cancelled' else 'waiting' end,
               case when due and p.silent then 'opted_out' end,
               case when due and not p.silent then c.started_at + p.seq * interval '75 s' end
          from public.campaigns c
          join (select k.user_id, k.phone, k.pushname as name, o.phone is not null as silent,
                       row_number() over (partition by k.session_id order by k.id) as seq
                  from public.contacts k left join public.opt_outs o on o.user_id = k.user_id and o.phone = k.phone
                 where k.phone is not null) p on p.user_id = c.user_id
         cross join lateral (select case c.state when 'terminada' then true when 'rascunho' then false
                 else p.seq <= 55 end) d (due)
        """
    )
    # Today's allowance is used up: nothing leaves before tomorrow.
    db.execute(
        """
        insert into public.campaign_lanes (user_id, zone, look_at, why, phone_number, young_since)
        select s.user_id, %(zone)s,
               (date_trunc('day', now() at time zone %(zone)s) + interval '1 day' + %(opens)s::time)
                 at time zone %(zone)s, 'cap', s.phone_number, s.created_at
          from public.whatsapp_sessions s
         where exists (select from public.campaigns c where c.user_id = s.user_id and c.state = 'ativa')
        """,
        {"zone": ZONE, "opens": configured.campaign_opens},
    )


def schedules(db: psycopg.Connection) -> None:
    """For everybody who sends one a day, one a week, one that is held, one still to come and one that is over."""
    db.execute(
        """
        insert into public.schedules (id, user_id, name, zone, first_wall, rule, body, template_id, template_version,
            recipients, next_wall, next_at, look_at, paused_at, ended_at, created_at)
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
        {"zone": ZONE},
    )
    db.execute(
        """
        insert into public.schedule_runs (schedule_id, user_id, wall, due_at, state, reason, message_ids, at)
        select id, user_id, wall, due_at, state,
               case state when 'missed' then (array['disconnected', 'late'])[1 + k %% 2] end,
               case when state = 'sent' then array(
                   select md5('SCHEDULE' || id || wall || (one ->> 'phone'))::uuid
                     from jsonb_array_elements(recipients) one) else '{}' end, due_at
          from (select s.*, wall, wall at time zone %(zone)s as due_at, k,
                       case when rule is null then 'sent' when k %% 5 = 3 then 'missed' when k %% 9 = 6 then 'skipped'
                         else 'sent' end as state
                  from public.schedules s
                 cross join lateral generate_series(first_wall, coalesce(paused_at, now()) at time zone %(zone)s,
                   case when rule is null then interval '1 year' when rule like '%%WEEKLY%%' then interval '7 days'
                     else interval '1 day' end) with ordinality as w (wall, k)) r
        """,
        {"zone": ZONE},
    )


# --- what happened ----------------------------------------------------------------------------------------------------


def messages(db: psycopg.Connection) -> None:
    """What people wrote, what campaigns and schedules sent for them, and what waits or is in doubt."""
    with _unwatched(db):
        _insert_messages(db)
        # Two of what each session sent lately and nobody has confirmed.
        db.execute(
            """
            update public.messages set state = 'uncertain', failure = 'unknown', accepted_at = null, sent_at = null,
                   wpp_id = null, ack = 0, uncertain_at = at + interval '30 s'
             where id in (
               select id from (select id, row_number() over (partition by session_id order by id) as n
                                 from public.messages
                                where state = 'sent' and at > now() - interval '4 days' and address like '%@c.us') m
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
               unread = case when m.direction = 'in' and c.blocked_at is null and m.at > now() - interval '6 days'
                 then 1 else 0 end
          from (select distinct on (contact_id) contact_id, at, direction,
                       max(at) over (partition by contact_id) as newest
                  from public.messages where state <> 'queued'
                 order by contact_id, coalesce(campaign_id, schedule_id) is not null, at desc, seq desc) m
         where m.contact_id = c.id
        """
    )


# Each says who wrote what to whom and when: key, contact, is_out, body, kind, place, at, quotes_ours, quotes, template,
# campaign, schedule. By hand: busy on weekdays from nine to six, quiet at night; two in three go out.
_BY_HAND = """
with chat as materialized (
  select array_agg(id order by session_id, id) as ids, count(*)::integer as n from public.contacts
), drawn as materialized (
  select e, random() as who, random() as luck, floor(random() * 30)::integer as day,
         (array[8,9,9,9,10,10,10,10,11,11,11,12,12,13,13,14,14,14,15,15,15,16,16,16,17,17,18,19,20,22])
           [1 + floor(random() * 30)::integer] as hour, random() * interval '60 minutes' as minute,
         floor(random() * %(dialogues)s)::integer as dialogue
    from generate_series(1, %(count)s) e
), begun as (
  select d.*, (chat.ids)[1 + floor(power(who, 1.5) * chat.n)::integer] as contact,
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
       begins + step * interval '4 minutes' + (e + step) %% 19 * interval '11 seconds' as at,
       case when step = 1 and e %% 11 = 0 then before like '>%%' end as quotes_ours,
       'DEMO' || e * 3 as quotes,
       case when step = 0 and dialogue < 4 then dialogue + 1 end as template, null::uuid as campaign,
       null::uuid as schedule
  from spoken cross join lateral (select line like '%%Rua Augusta%%' and e %% 3 = 0) p (place)
"""
_BY_CAMPAIGN = """
select 'CAMPAIGN' || r.campaign_id || r.seq as key, k.id as contact, true as is_out, v.body, 'chat' as kind,
       false as place, r.released_at as at, null::boolean as quotes_ours, '' as quotes,
       case c.name when 'Novo horário de atendimento' then 6 else 5 end as template, r.campaign_id as campaign,
       null::uuid as schedule
  from public.campaign_recipients r
  join public.campaigns c on c.id = r.campaign_id
  join public.template_versions v on v.template_id = c.template_id and v.version = c.template_version
  join public.contacts k on k.user_id = r.user_id and k.phone = r.phone
 where r.state = 'released'
"""
_BY_SCHEDULE = """
select 'SCHEDULE' || s.id || r.wall || (one ->> 'phone') as key, k.id as contact, true as is_out,
       coalesce(v.body, s.body) as body, 'chat' as kind, false as place, r.due_at as at,
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
            template_version, campaign_id, schedule_id, at, run_at, created_at, claimed_at, sending_at, accepted_at,
            sent_at, delivered_at, read_at, ended_at, updated_at)
        with told as materialized (({_BY_HAND}) union all ({_BY_CAMPAIGN}) union all ({_BY_SCHEDULE})),
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
               x.id, x.version, t.campaign, t.schedule, t.at, t.at, t.at,
               case when is_out then t.at + quick * interval '2 s' end,
               case when is_out then t.at + quick * interval '3 s' end,
               case when arrived then t.at + quick * interval '4 s' end,
               case when arrived then t.at + quick * interval '6 s' end,
               case when t.state in ('delivered', 'read') then t.at + quick * interval '90 s' end,
               case when t.state = 'read'
                 then least(t.at + interval '2 min' + quick * quick * interval '5 h', now()) end,
               case when t.state = 'failed' then t.at + interval '5 s' end, t.at
          from ended t
         cross join lateral (select t.state in ('sent', 'delivered', 'read')) a (arrived)
          join public.contacts c on c.id = t.contact
          left join public.templates x on x.id = md5('demo template ' || c.user_id || t.template)::uuid
         order by t.at
        """,
        {
            "zone": ZONE,
            # A few fall on weekends and are left out.
            "count": round(MESSAGES * 1.23 / 3),
            "lines": [line for dialogue in DIALOGUES for line in dialogue],
            "dialogues": len(DIALOGUES),
            "people": [f"{first} {LAST[n % len(LAST)]}" for n, first in enumerate(FIRST)],
        },
    )


@contextmanager
def _unwatched(db: psycopg.Connection) -> Iterator[None]:
    """Nobody watches yet: no message in the block rings, is filed or forwarded."""
    db.execute("alter table public.messages disable trigger user")
    yield
    db.execute("alter table public.messages enable trigger user")


def message_marks(db: psycopg.Connection) -> None:
    """A few were answered with an emoji, changed or taken back; those to groups were read by some."""
    db.execute(
        """
        insert into public.message_marks (session_id, wpp_id, kind, who, user_id, at, value)
        select session_id, wpp_id, k.kind, who, user_id, m.at + interval '5 minutes', value
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
         ) k (kind, who, value)
        """
    )


def events(db: psycopg.Connection) -> None:
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
               case verdict when 'failed' then 'services/inbox.py:420 in _on_message' || chr(10) || 'ValueError' end
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
        {"count": EVENTS},
    )
    db.execute(
        """
        insert into public.session_hours (session, hour, events, last_at)
        select session, date_trunc('hour', received_at), count(*), max(received_at) from public.events group by 1, 2
        """
    )
    # Or the receiver would find, as it starts, a gap that the sandbox cannot fill.
    db.execute(
        "insert into public.heartbeats (process, instance, at)"
        " values ('receiver', 'demo', now() + interval '10 minutes')"
    )


def session_timeline(db: psycopg.Connection) -> None:
    """How each session was paired, fell a few times and was healed, and came to what it is now."""
    db.execute(
        """
        with fallen as materialized (
          select s.*, now() - interval '13 days' - random() * interval '16 days' as fell, random() as quick
            from public.whatsapp_sessions s where phone_number is not null
        )
        insert into public.session_timeline (session_id, user_id, at, kind, what, outcome, detail, actor_id)
        select s.id, s.user_id, base + (0.4 + quick) * after, t.kind, what, outcome, detail,
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
         ) as t (base, after, kind, what, outcome, detail)
         order by 3
        """
    )


def findings(db: psycopg.Connection) -> None:
    """What is wrong now, and what was in the last month."""
    db.execute(
        """
        insert into public.findings (session_id, user_id, kind, state, found_at, steps, acted_at, due_at, ended_at,
            told_at)
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
        insert into public.findings (session_id, user_id, kind, state, found_at, steps, due_at, told_at)
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


def fleet_samples(db: psycopg.Connection) -> None:
    """The fleet's figures over the last month, as the worker would have written them down."""
    db.execute(
        """
        insert into public.fleet_samples (at, figures)
        select at, jsonb_build_object('conectado', up - dip, 'pareando', 1 + (sin(t / 7000) > 0.6)::integer,
                 'desconectado', 4 + dip, 'unproven', (sin(t / 9000) > 0.8)::integer,
                 'silent', (sin(t / 11000) > 0.7)::integer)
          from generate_series(date_bin('5 minutes', now(), 'epoch') - interval '30 days',
                 date_bin('5 minutes', now(), 'epoch') - interval '5 minutes', interval '5 minutes') at,
               (select count(*)::integer as up from public.whatsapp_sessions where status = 'conectado') s,
               lateral (select extract(epoch from at)) e (t),
               lateral (
                 select case when extract(hour from at) = 4 then 6 else (sin(t / 5000) > 0.7)::integer end) d (dip)
        """
    )


def rules(db: psycopg.Connection) -> None:
    """An automatic reply outside the hours, a label by words, and what they did in the last days."""
    db.execute(
        """
        insert into public.rules (id, user_id, kind, active, reply, zone, hours, words, label, created_at)
        select md5('demo rule ' || user_id || r.kind)::uuid, user_id, r.kind, true, reply, zone, hours, words, label,
               now() - interval '25 days'
          from public.whatsapp_sessions cross join (values
            ('auto_reply', 'Recebemos a sua mensagem e respondemos no próximo horário de atendimento.', %(zone)s,
              '[["08:00", "18:00"], ["08:00", "18:00"], ["08:00", "18:00"], ["08:00", "18:00"], ["08:00", "18:00"],
                ["09:00", "13:00"], null]'::jsonb, null, null),
            ('label', null, null, null, '{valor,orçamento,preço}'::text[], 'interessado')
          ) as r (kind, reply, zone, hours, words, label)
         where status = 'conectado'
        """,
        {"zone": ZONE},
    )
    db.execute(
        """
        insert into public.rule_uses (rule_id, user_id, contact_id, message_id, day, what, at)
        select r.id, r.user_id, m.contact_id, m.id, (m.at at time zone %(zone)s)::date,
               case r.kind when 'label' then 'labelled' else (array['replied', 'replied', 'replied', 'opted_out',
                 'automatic'])[1 + m.seq %% 5] end, m.at
          from public.rules r join public.messages m on m.user_id = r.user_id and m.direction = 'in'
           and m.at > now() - interval '10 days'
         where case r.kind when 'label' then m.body like '%%valor%%'
                 else extract(hour from m.at at time zone %(zone)s) not between 8 and 17 end
         order by m.at
        on conflict do nothing
        """,
        {"zone": ZONE},
    )
    db.execute(
        "update public.contacts set labels = labels || '{interessado}' where id in ("
        " select contact_id from public.rule_uses where what = 'labelled')"
    )


def endpoints(db: psycopg.Connection) -> None:
    """The systems that hear of it: those of a few, one of them turned off, and one that hears everybody's."""
    db.execute(
        """
        insert into public.endpoints (id, user_id, url, secret, kinds, active, off_reason, failing_since, created_at)
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
        {"admin": ADMIN},
    )
    db.execute(
        """
        insert into public.deliveries (endpoint_id, user_id, kind, what, message_id, session_id, state, attempts,
            last_status, last_error, created_at, tried_at, done_at, dead_at)
        select e.id, e.user_id, case m.direction when 'in' then 'message.received' else 'message.state' end, m.state,
               m.id, m.session_id, t.state, case t.state when 'done' then 1 when 'dead' then 10 else 0 end,
               case t.state when 'done' then 200 when 'dead' then 500 end, null, m.at,
               case when t.state <> 'waiting' then m.at + interval '1 s' end,
               case when t.state = 'done' then m.at + interval '1 s' end,
               case when t.state = 'dead' then least(m.at + interval '3 days', now()) end
          from public.endpoints e
         cross join lateral (
           select * from public.messages m where m.user_id = coalesce(e.user_id, md5('demo user 4')::uuid)
              and m.at < now() - case when e.active then interval '0' else interval '6 days' end
            order by m.run_at desc limit 120) m
         cross join lateral (select case when not e.active then 'waiting' when m.seq % 41 = 0 then 'dead'
                else 'done' end) t (state)
         order by m.at
        """
    )


def gaps(db: psycopg.Connection) -> None:
    """When the receiver, a server or a session was away, and how much came back."""
    db.execute(
        """
        insert into public.gaps (id, session_id, user_id, from_at, to_at, reason, state, attempts, listed_at, chats,
            recovered, failed, why, created_at, done_at)
        select md5('demo gap ' || s.id || reason)::uuid, s.id, s.user_id, began, began + lasted, reason, state, 1,
               began + lasted, 4 + n % 5, n % every, case when why is not null then 1 else 0 end, why, began + lasted,
               began + lasted + interval '40 s'
          from (select *, row_number() over (order by id)::integer as n from public.whatsapp_sessions
                 where status = 'conectado') s
         cross join lateral (values
           ('receiver', now() - interval '9 days', interval '4 minutes', 'done', 4, null),
           ('server', now() - interval '16 days', interval '21 minutes', 'done', 9, null),
           ('session', s.connected_at - interval '9 minutes', interval '9 minutes', 'done', 7,
             case when n % 6 = 1 then 'too_deep' end),
           ('database', now() - interval '5 days', interval '2 hours', 'failed', 1, 'wppconnect_inacessivel')
         ) as g (reason, began, lasted, state, every, why)
         where reason <> 'database' or n % 6 = 1
        """
    )
    db.execute(
        """
        insert into public.gap_chats (gap_id, address, user_id, state, why)
        select g.id, c.address, g.user_id, 'failed', g.why
          from public.gaps g
         cross join lateral (select address from public.contacts where session_id = g.session_id
                order by id limit 1) c
         where g.failed > 0
        """
    )


# --- what staff did ---------------------------------------------------------------------------------------------------


def audit_log(db: psycopg.Connection) -> None:
    """A month of staff at work; the chain's trigger gives each record its hash."""
    db.execute(
        """
        insert into public.audit_log (at, actor_id, actor_role, action, subject, detail)
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


def security_events(db: psycopg.Connection) -> None:
    """Wrong passwords, refused pages, and somebody who tried webhook secrets."""
    db.execute(
        """
        insert into public.security_events (at, kind, subject, ip, actor_id)
        select now() - (150 - i) * interval '280 minutes', (array['api_refused', 'webhook_refused', 'page_refused',
                 'rate_limited', 'api_refused'])[1 + floor(random() * 5)::integer],
               case when i % 4 = 0 then '/audit' else 'demo' || i % 17 || '@example.com' end,
               '203.0.113.' || i % 9 + 20, null
          from generate_series(1, 150) i
        """
    )


def api_keys(db: psycopg.Connection) -> None:
    """A few people let their programs send."""
    db.execute(
        """
        insert into public.api_keys (user_id, name, scopes, prefix, secret_hash, created_at, last_used_at, expires_at,
            revoked_at)
        select user_id, (array['ERP da loja', 'Site', 'Agenda'])[1 + n % 3], '{ler,enviar}', 'pk_demo' || n,
               sha256(gen_random_uuid()::text::bytea), now() - interval '25 days',
               case when n % 3 > 0 then now() - n * interval '31 minutes' end,
               case when n % 2 = 0 then now() + interval '60 days' end, case when n % 7 = 0 then now() end
          from (select user_id, row_number() over (order by id)::integer as n from public.whatsapp_sessions
                 where status = 'conectado') s where n % 3 = 0 or user_id = md5('demo user 1')::uuid
        """
    )


def cleanup_runs(db: psycopg.Connection) -> None:
    """The hourly clean-up of the last three days."""
    db.execute(
        """
        insert into public.cleanup_runs (kinds, counts, created_at, started_at, finished_at)
        select '{codes,events,heartbeats,jobs}', jsonb_build_object('events', (random() * 900)::integer,
                 'codes', (random() * 3)::integer), at, at, at + random() * interval '4 s'
          from generate_series(now() - interval '72 hours', now() - interval '30 minutes', interval '1 hour') at
        """
    )


# In the order in which they build on each other; each is named for the table that it fills.
KINDS: dict[str, Callable[[psycopg.Connection], None]] = {
    "auth.users": users,
    "whatsapp_sessions": whatsapp_sessions,
    "contacts": contacts,
    "opt_outs": opt_outs,
    "templates": templates,
    "campaigns": campaigns,
    "schedules": schedules,
    "messages": messages,
    "message_marks": message_marks,
    "rules": rules,
    "endpoints": endpoints,
    "gaps": gaps,
    "events": events,
    "session_timeline": session_timeline,
    "findings": findings,
    "fleet_samples": fleet_samples,
    "audit_log": audit_log,
    "security_events": security_events,
    "api_keys": api_keys,
    "cleanup_runs": cleanup_runs,
}


def _count(db: psycopg.Connection, table: str) -> int:
    row: Any = db.execute(f"select count(*) from {table}").fetchone()  # a name of KINDS
    return int(row[0])


def _silently(_done: int, _of: int, _what: str) -> None:
    """Nobody watches."""
