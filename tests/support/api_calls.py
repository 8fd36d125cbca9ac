"""Somebody with something of everything that the API knows, and calls of every operation on it."""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import httpx

from services.contacts import opt_outs
from services.db.actor import Actor
from services.inbound import automations, conversations, outages
from services.integrations import webhook_endpoints
from services.messaging import outbox
from services.messaging.content import Content
from services.outreach import campaigns, recurrence, schedules, templates
from services.outreach.recipients import Recipient
from services.outreach.recurrence import ScheduleRecipient
from services.outreach.template_content import TemplateDraft
from services.platform import media_store
from tests.support import days
from tests.support.credentials import bearer_header
from tests.support.databases import Database
from tests.support.sessions import connected
from web.api.automations import AUTO_REPLY, RULES
from web.api.campaigns import CAMPAIGNS
from web.api.conversations import CHATS
from web.api.media import MEDIA
from web.api.messages import SEND
from web.api.number_changes import NUMBER
from web.api.opt_outs import KILL_SWITCH, OPT_OUTS
from web.api.outages import OUTAGES
from web.api.registry import MESSAGES
from web.api.reports import REPORTS
from web.api.schedules import SCHEDULES
from web.api.templates import TEMPLATE_FILE, TEMPLATES
from web.api.uncertain import UNCERTAIN
from web.api.webhook_endpoints import DELIVERIES, ENDPOINTS

MARK = "a text that only its owner may read"
# Still to come.
THURSDAY = days.future_weekday(3)
CONTENT = Content(body=MARK)


def insert_everything(database: Database, actor: Actor) -> Actor:
    """Somebody with a session and something of everything that the API knows."""
    connected(database, actor)
    outbox.queue(actor, "11 98765-4321", MARK, "key-of-ana")
    template = templates.save(actor, TemplateDraft("Da Ana", MARK))
    media_store.save(actor, MARK.encode(), "text/plain")
    first = datetime.combine(THURSDAY, time(9))
    schedules.create(
        actor,
        recurrence.ScheduleDraft(
            MARK, "America/Sao_Paulo", first, None, (ScheduleRecipient("5511987654321"),), CONTENT
        ),
    )
    database.execute(
        "insert into schedule_runs (schedule_id, user_id, local_time, due_at, state, reason)"
        " select id, user_id, now(), now(), 'missed', %s from schedules where user_id = %s",
        MARK, actor.user_id,
    )  # fmt: skip
    campaigns.create(actor, MARK, template, [Recipient(1, "", "5511987654321", MARK)])
    database.execute(
        "with contact as (insert into contacts (session_id, user_id, address, phone, name, last_message_at)"
        " select id, user_id, '5511987654321@c.us', '5511987654321', %s, now() from whatsapp_sessions"
        " where user_id = %s returning id)"
        " update messages set contact_id = contact.id, wpp_id = 'of-ana' from contact where user_id = %s",
        MARK, actor.user_id, actor.user_id,
    )  # fmt: skip
    opt_outs.add(actor, "11 91234-5678")
    _insert_results(database, actor)
    return actor


def _insert_results(database: Database, actor: Actor) -> None:
    """What the worker would have written: a rule and its use, a gap with a chat that was lost, a dead delivery."""
    automations.add_label(actor, [MARK], MARK)
    database.execute(
        "insert into automation_uses (automation_id, user_id, contact_id, day, action)"
        " select r.id, r.user_id, c.id, now(), 'labelled' from automations r join contacts c on c.user_id = r.user_id"
        " where r.user_id = %s",
        actor.user_id,
    )
    database.execute(
        "with gap as (insert into outages (session_id, user_id, from_at, to_at, reason, state, done_at)"
        " select id, user_id, now(), now(), 'session', 'done', now() from whatsapp_sessions where user_id = %s"
        " returning id, user_id)"
        " insert into outage_chats (outage_id, address, user_id, state, failure) select id, %s, user_id, 'failed',"
        " 'x' from gap",
        actor.user_id, MARK,
    )  # fmt: skip
    database.execute(
        "with endpoint as (insert into webhook_endpoints (user_id, url, secret, kinds)"
        " values (%s, 'https://erp.example.com/', 'whsec_x', '{session.status}') returning id, user_id)"
        " insert into webhook_deliveries (endpoint_id, user_id, kind, session_id, state, dead_at)"
        " select e.id, e.user_id, 'session.status', s.id, 'dead', now()"
        " from endpoint e join whatsapp_sessions s on s.user_id = e.user_id",
        actor.user_id,
    )


def get_names(actor: Actor, path: str) -> dict[str, str]:
    """What of theirs a path can name."""
    lists: dict[str, Callable[[], Any]] = {
        TEMPLATES: lambda: templates.list_templates(actor)[0].id,
        SCHEDULES: lambda: schedules.list_schedules(actor)[0].id,
        CAMPAIGNS: lambda: campaigns.list_campaigns(actor)[0][0].id,
        CHATS: lambda: conversations.list_chats(actor).chats[0].contact.id,
        RULES: lambda: automations.list_rules(actor)[0].id,
        OUTAGES: lambda: outages.list_own(actor)[0].id,
        ENDPOINTS: lambda: webhook_endpoints.list_endpoints(actor)[0].id,
        DELIVERIES: lambda: (
            webhook_endpoints.list_deliveries(actor, webhook_endpoints.list_endpoints(actor)[0].id)[0].id
        ),
    }
    read = next(
        (one for prefix, one in lists.items() if path.startswith(prefix)), lambda: outbox.list_recent(actor)[0].id
    )
    return {"{id}": str(read()), "{media_id}": media_store.list_media(actor, 1)[0].media.sha256.hex()}


WEEKLY = {
    "name": "Toda semana",
    "zone": "America/Sao_Paulo",
    "first": f"{THURSDAY}T09:00",
    "rule": "FREQ=WEEKLY",
    "recipients": [{"phone": "11987654321"}],
    "message": "Olá",
}


def list_rows(database: Database, actor: Actor) -> list[Any]:
    """All rows of theirs that the API could change."""
    tables = ("messages", "templates", "template_versions", "media", "schedules", "schedule_runs", "campaigns",
              "campaign_recipients", "contacts", "message_annotations", "opt_outs", "automations", "automation_uses",
              "outages", "outage_chats", "webhook_endpoints", "webhook_deliveries")  # fmt: skip
    stopped = "select l.stopped_at from lanes l join whatsapp_sessions s on s.id = l.session_id where s.user_id = %s"
    return [
        database.execute(stopped, actor.user_id),
        *(database.execute(f"select * from {name} where user_id = %s order by 1, 2", actor.user_id) for name in tables),
    ]


# Input that each operation takes.
INPUT: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", SEND): {"json": {"phone": "11987654321", "message": "Olá"}},
    ("POST", MEDIA): {"content": b"a file"},
    ("POST", TEMPLATES): {"json": {"name": "Um", "message": "Olá, {{nome}}"}},
    ("PUT", f"{TEMPLATES}/{{id}}"): {"json": {"name": "Um", "message": "Olá"}},
    ("POST", f"{TEMPLATES}/{{id}}/preenchido"): {"json": {}},
    ("POST", SCHEDULES): {"json": WEEKLY},
    ("PUT", f"{SCHEDULES}/{{id}}"): {"json": WEEKLY},
    ("PATCH", f"{SCHEDULES}/{{id}}"): {"json": {"paused": True}},
    ("POST", CAMPAIGNS): {
        "json": {"name": "Uma", "templateId": str(uuid4()), "recipients": [{"phone": "11987654321"}]}
    },
    ("PATCH", f"{CAMPAIGNS}/{{id}}"): {"json": {"state": "cancelled"}},
    ("PATCH", f"{SCHEDULES}/{{id}}/proximas"): {"json": {"wall": f"{THURSDAY}T09:00"}},
    ("POST", f"{UNCERTAIN}/{{id}}/decisao"): {"json": {"decision": "left"}},
    ("PUT", f"{CHATS}/{{id}}"): {"json": {"name": "Outra", "labels": ["cliente"]}},
    ("PATCH", f"{CHATS}/{{id}}"): {"json": {"blocked": True}},
    ("POST", f"{CHATS}/{{id}}/responder"): {"json": {"message": "Olá"}},
    ("POST", f"{MESSAGES}/{{id}}/reacao"): {"json": {"emoji": "👍"}},
    ("GET", f"{MESSAGES}/busca"): {"params": {"words": "owner"}},
    ("PUT", f"{CAMPAIGNS}/{{id}}/ritmo"): {
        "json": {"opens": "10:00", "closes": "12:00", "daily": 5, "coldShare": 0.1, "seconds": 60}
    },
    ("POST", f"{TEMPLATES}/{{id}}/copia"): {"json": {"name": "Cópia"}},
    ("POST", TEMPLATE_FILE): {"content": b"{}"},
    ("POST", OPT_OUTS): {"json": {"phone": "11912345678"}},
    ("POST", f"{OPT_OUTS}/desfazer"): {"json": {"phone": "5511912345678", "reason": "falava da consulta"}},
    ("PUT", KILL_SWITCH): {"json": {"stopped": True}},
    ("POST", NUMBER): {"json": {"decision": "drop"}},
    ("POST", RULES): {"json": {"words": ["preço"], "label": "Interessado"}},
    ("PUT", AUTO_REPLY): {
        "json": {"reply": "Fechado.", "hours": [{"opens": "08:00", "closes": "18:00"}] * 5 + [None, None]}
    },
    ("PATCH", f"{RULES}/{{id}}"): {"json": {"active": False}},
    ("GET", REPORTS): {"params": {"first": f"{date.today() - timedelta(days=1)}", "last": f"{date.today()}"}},
}


def call_operation(
    http: httpx.Client, method: str, path: str, credential: str | None, of: Actor | None = None, **more: Any
) -> httpx.Response:
    """Any operation, with input that it takes, on what is `of` somebody; a stream is read up to its first event."""
    headers = {
        **(bearer_header(credential) if credential else {}),
        "Prefer": "respond-async",
        **more.pop("headers", {}),
    }
    names = get_names(of, path) if of else {"{id}": str(uuid4()), "{media_id}": "0" * 64}
    url = path
    for placeholder, name in names.items():
        url = url.replace(placeholder, name)
    with http.stream(method, url, headers=headers, **(more or INPUT.get((method, path), {}))) as answer:
        if answer.headers["content-type"].startswith("text/event-stream"):
            answer._content = next(answer.iter_raw())
        else:
            answer.read()
        return answer
