"""The API over real HTTP: who may, what it answers, and that nobody sees another's."""

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from PIL import Image

from services.db.actor import Actor
from services.inbound import conversations
from services.messaging import kill_switch, outbox
from services.outreach import campaigns, templates
from services.outreach.template_content import TemplateDraft
from services.platform import media_store
from tests.support import days
from tests.support.api_calls import MARK, THURSDAY, WEEKLY, call_operation, get_names, list_rows
from tests.support.credentials import bearer_header, make_jwt
from tests.support.databases import Database
from tests.support.recordings import film
from tests.support.sessions import connected
from tests.support.waiting import wait_for
from tests.support.web_settings import ORIGIN
from web.api import openapi
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
from web.api.sessions import SESSION
from web.api.templates import TEMPLATE_FILE, TEMPLATES
from web.api.uncertain import UNCERTAIN
from web.api.webhook_endpoints import DELIVERIES, ENDPOINTS

OPERATIONS = [(method.upper(), path) for path, methods in openapi.document()["paths"].items() for method in methods]


# --- who may ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def unlimited(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """To be named before `http`, whose process reads the settings as it starts."""
    for name in ("RATE_LIMIT_REFUSED", "RATE_LIMIT_API", "RATE_LIMIT_SEND"):
        monkeypatch.setenv(name, "off")


@pytest.mark.usefixtures("unlimited")
def test_it_refuses_whoever_has_no_credential(http: httpx.Client, database: Database) -> None:
    for method, path in OPERATIONS:
        for credential in (None, "nonsense", make_jwt(uuid4()), make_jwt(uuid4(), "x" * 40), "plk_" + "x" * 43):
            answer = call_operation(http, method, path, credential)
            assert answer.status_code == 401, (method, path, credential)
            assert set(answer.json()) == {"code", "message", "hint", "request_id"}
            assert answer.headers["www-authenticate"] == "Bearer"
    # Equal ones of the same second are one row with their number.
    noted = "select sum((detail ->> 'count')::int) >= %s from security_events where kind = 'api_refused'"
    wait_for(lambda: database.one(noted, 4 * len(OPERATIONS)), what="every refusal on the record")


def test_it_notes_why_it_refused_and_nothing_of_the_token(http: httpx.Client, database: Database, user: Actor) -> None:
    bad = make_jwt(user, exp=1)
    assert http.get(SESSION, headers=bearer_header(bad)).status_code == 401
    wait_for(lambda: database.one("select count(*) = 1 from security_events"))
    ((kind, subject, detail),) = database.execute("select kind, subject, detail::text from security_events")
    assert (kind, subject) == ("api_refused", "expired")
    assert bad not in detail


@pytest.mark.usefixtures("unlimited")
def test_it_shows_nobody_anothers_rows(
    http: httpx.Client, database: Database, ana: Actor, new_actor: Callable[..., Actor]
) -> None:
    before = list_rows(database, ana)
    for method, path in OPERATIONS:
        answer = call_operation(http, method, path, make_jwt(new_actor()), ana)
        assert answer.status_code != 500, (method, path)
        for private in (MARK, str(ana.user_id), *get_names(ana, path).values()):
            assert private not in answer.text, (method, path)
        assert list_rows(database, ana) == before, (method, path)
        assert database.one("select status from whatsapp_sessions where user_id = %s", ana.user_id) == "conectado"


@pytest.mark.usefixtures("unlimited")
def test_it_shows_everybody_their_own(http: httpx.Client, database: Database, ana: Actor) -> None:
    database.execute("update messages set state = 'uncertain', sending_at = now(), uncertain_at = now()")
    waiting = outbox.queue(ana, "11 98765-4321", MARK, "waits").id
    database.execute("update messages set asked_at = now(), waiting_since = now() where id = %s", waiting)
    for method, path in OPERATIONS:
        # The chat itself is read from the server; the brake, the number and the report say nothing but figures.
        if method != "GET" or path.endswith("/conversa") or path in (KILL_SWITCH, NUMBER, REPORTS):
            continue
        answer = call_operation(http, method, path, make_jwt(ana), ana)
        assert answer.status_code == 200, path
        # What holds no word of theirs holds an id: of what the path names, or of their contact.
        ids = (*get_names(ana, path).values(), *get_names(ana, CHATS).values())
        assert any(one in answer.text for one in (MARK, f"user_{ana.user_id}", "5511912345678", *ids)), path


def test_it_takes_key_and_text_of_two_users_apart(
    http: httpx.Client, database: Database, ana: Actor, user: Actor
) -> None:
    connected(database, user)
    sent = {"phone": "11987654321", "message": "outra"}
    answer = call_operation(http, "POST", SEND, make_jwt(user), json=sent, headers={"Idempotency-Key": "key-of-ana"})
    assert answer.status_code == 202
    assert answer.json()["message"] == "outra"


# --- sending and reading ----------------------------------------------------------------------------------------------


def test_it_says_where_to_ask_while_a_message_is_on_its_way(http: httpx.Client, ana: Actor) -> None:
    answer = call_operation(http, "POST", SEND, make_jwt(ana))
    assert answer.status_code == 202
    where = answer.headers["location"]
    assert where == f"{SEND}/{answer.json()['id']}"
    assert http.get(where, headers=bearer_header(make_jwt(ana))).json() == answer.json()


def test_it_queues_the_same_key_once_however_many_ask_at_once(
    http: httpx.Client, database: Database, ana: Actor
) -> None:
    def send(_: int) -> httpx.Response:
        return call_operation(http, "POST", SEND, make_jwt(ana), headers={"Idempotency-Key": "one"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(24)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert database.one("select count(*) from messages where idempotency_key = 'one'") == 1


def test_it_refuses_a_key_that_named_another_text(http: httpx.Client, ana: Actor) -> None:
    answer = call_operation(http, "POST", SEND, make_jwt(ana), headers={"Idempotency-Key": "key-of-ana"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflito")


def test_it_keeps_a_message_for_later(http: httpx.Client, ana: Actor) -> None:
    wanted = {"phone": "11987654321", "message": "depois", "runAt": f"{THURSDAY}T09:00:00-03:00"}
    answer = http.post(SEND, json=wanted, headers=bearer_header(make_jwt(ana)))
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert answer.json()["run_at"] == f"{THURSDAY}T12:00:00Z"
    assert answer.elapsed.total_seconds() < 3


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "corpo_invalido"),
        (b"{", 400, "corpo_invalido"),
        (b"[" * 100_000, 400, "corpo_invalido"),
        (b"[]", 422, "campos_invalidos"),
        (b"{}", 422, "campos_invalidos"),
        (b'{"phone":1,"message":"x"}', 422, "telefone_invalido"),
        (b'{"phone":true,"message":"x"}', 422, "campos_invalidos"),
        (b'{"phone":null,"message":"x"}', 422, "campos_invalidos"),
        (b'{"phone":1e20,"message":"x"}', 422, "campos_invalidos"),
        (b'{"phone":NaN,"message":"x"}', 400, "corpo_invalido"),
        (b'{"phone":"NaN","message":"x"}', 422, "telefone_invalido"),
        (b'{"phone":"219.812.345-67","message":"x"}', 422, "documento_no_telefone"),
        (b'{"phone":"5.51199E+12","message":"x"}', 422, "telefone_arredondado"),
        (b'{"phone":"status@broadcast","message":"x"}', 422, "destino_so_leitura"),
        (b'{"phone":"11987654321","message":"x","runAt":"2020-05-01T09:00:00"}', 422, "campos_invalidos"),
        (b'{"phone":"123","message":"x"}', 422, "telefone_invalido"),
        (b'{"phone":"11987654321","message":"  "}', 422, "mensagem_vazia"),
        (b'{"phone":"11987654321","message":"%s"}' % (b"x" * 4097), 422, "mensagem_longa"),
        (b'{"phone":"11987654321","message":"a\\u0000b"}', 422, "entrada_invalida"),
        (b" " * (1024 * 1024 + 1), 413, "corpo_grande"),
    ],
    ids=range(20),
)
def test_it_says_what_is_wrong_with_the_input(
    http: httpx.Client, database: Database, ana: Actor, content: bytes, status: int, code: str
) -> None:
    answer = http.post(SEND, content=content, headers=bearer_header(make_jwt(ana)))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert database.one("select count(*) from messages") == 1


@pytest.mark.parametrize(
    ("phone", "known_as"),
    [
        ("5511987650024", "5511987650024"),
        (5511987650024, "5511987650024"),
        (5511987650024.0, "5511987650024"),
        ("5511987650024@c.us", "5511987650024"),
        ("5511987650024@s.whatsapp.net", "5511987650024"),
        ("5511987650024:12@c.us", "5511987650024"),
        ("112233445566778@lid", "112233445566778@lid"),
        ("+52 1 55 1234 5678", "525512345678"),
        ("https://wa.me/5511987650024", "5511987650024"),
    ],
)
def test_it_takes_an_address_in_every_form(http: httpx.Client, ana: Actor, phone: object, known_as: str) -> None:
    wanted = {"phone": phone, "message": "depois", "runAt": f"{THURSDAY}T09:00:00-03:00", "contactName": None}
    answer = http.post(SEND, json=wanted, headers=bearer_header(make_jwt(ana)))
    assert (answer.status_code, answer.json()["phone"]) == (202, known_as)


def test_numbers_fill_a_template_as_they_are_written(http: httpx.Client, ana: Actor) -> None:
    ours = bearer_header(make_jwt(ana))
    defaults = {"parcelas": None, "valor": None, "vip": None, "obs": "-"}
    body = "{{parcelas}} de {{valor}}, {{vip}} {{obs}}{{nome}}"
    made = templates.save(ana, TemplateDraft("Parcelas", body, defaults=defaults))
    values = {"valor": 120.5, "parcelas": 3, "vip": True, "obs": None}
    wanted = {"phone": 5511987650023, "templateId": str(made.id), "values": values, "contactName": 7}
    answer = http.post(SEND, json=wanted | {"runAt": f"{THURSDAY}T09:00:00-03:00"}, headers=ours)
    assert (answer.status_code, answer.json()["message"]) == (202, "3 de 120.5, true -7")


def test_it_names_the_field_its_shape_and_its_limit(http: httpx.Client, ana: Actor) -> None:
    wanted = {"message": "x" * 100_001, "kind": "foto", "runAt": "2024-05-01T09:00:00", "values": {"x": 1e20, "y": [1]}}
    answer = http.post(SEND, json=wanted, headers=bearer_header(make_jwt(ana)))
    told = answer.json()["message"]
    for words in (
        "phone (obrigatório)",
        "message (até 100.000 caracteres)",
        "kind (deve ser 'chat', 'image'",
        "runAt (falta o fuso: use data e hora como 2024-05-01T09:00:00-03:00)",
        "values.x (um número desse tamanho perde algarismos: envie-o como texto, entre aspas)",
        "values.y (deve ser um texto)",
    ):
        assert words in told
    listed = http.get(MESSAGES, params={"limit": 0}, headers=bearer_header(make_jwt(ana)))
    assert listed.json()["message"] == "Há campos ausentes ou inválidos: limit (no mínimo 1)."


def test_it_does_not_send_from_a_session_that_is_not_up(http: httpx.Client, user: Actor) -> None:
    answer = call_operation(http, "POST", SEND, make_jwt(user))
    assert (answer.status_code, answer.json()["code"]) == (409, "sessao_desconectada")


def test_it_tells_who_waited_that_a_message_failed(http: httpx.Client, database: Database, ana: Actor) -> None:
    database.execute(
        "create function fail() returns trigger language plpgsql security definer as $$ begin"
        " update public.messages set state = 'failed', failure = 'not_on_whatsapp' where id = new.id; return null;"
        " end $$; create trigger fail after insert on messages for each row execute function fail()"
    )
    answer = http.post(SEND, json={"phone": "11987654321", "message": "x"}, headers=bearer_header(make_jwt(ana)))
    assert (answer.status_code, answer.json()["code"]) == (409, "numero_sem_whatsapp")
    assert answer.json()["state"] == "failed"
    assert (
        http.get(f"{SEND}/{answer.json()['id']}", headers=bearer_header(make_jwt(ana))).json()["failure"]
        == "not_on_whatsapp"
    )


def test_it_lists_every_message_once_by_pages(http: httpx.Client, ana: Actor) -> None:
    for number in range(6):
        outbox.queue(ana, "11987654321", f"texto {number}", f"k{number}")
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3, "direction": "out"}
    while True:
        page = http.get(MESSAGES, params=query, headers=bearer_header(make_jwt(ana))).json()
        seen += [one["message"] for one in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == [*(f"texto {number}" for number in reversed(range(6))), MARK]
    assert http.get(MESSAGES, params={"direction": "in"}, headers=bearer_header(make_jwt(ana))).json()["items"] == []


@pytest.mark.parametrize(
    "cursor", ["x", "ÿ", "bnVsbA==", "LTE=", "W10=", "Wy0xXQ==", "WzEsMl0=", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk="]
)
def test_it_refuses_a_cursor_that_is_none(http: httpx.Client, ana: Actor, cursor: str) -> None:
    answer = http.get(MESSAGES, params={"cursor": cursor}, headers=bearer_header(make_jwt(ana)))
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalido")


def test_it_takes_a_message_back_until_it_leaves(http: httpx.Client, database: Database, ana: Actor) -> None:
    taken = call_operation(http, "DELETE", f"{SEND}/{{id}}", make_jwt(ana), ana)
    assert (taken.status_code, taken.json()["state"]) == (200, "cancelled")
    late = call_operation(http, "DELETE", f"{SEND}/{{id}}", make_jwt(ana), ana)
    assert late.status_code == 409
    assert database.one("select state from messages where user_id = %s", ana.user_id) == "cancelled"


def test_it_ends_a_doubt_as_its_owner_decides_and_only_once(http: httpx.Client, database: Database, ana: Actor) -> None:
    database.execute("update messages set state = 'uncertain', sending_at = now(), uncertain_at = now()")
    (doubt,) = http.get(UNCERTAIN, headers=bearer_header(make_jwt(ana))).json()["items"]
    where = f"{UNCERTAIN}/{doubt['id']}/decisao"
    again = [
        http.post(where, json={"decision": "again"}, headers=bearer_header(make_jwt(ana))).json()["id"]
        for _ in range(2)
    ]
    assert len({doubt["id"], *again}) == 2
    other = http.post(where, json={"decision": "left"}, headers=bearer_header(make_jwt(ana)))
    assert (other.status_code, other.json()["code"]) == (409, "conflito")
    assert http.get(UNCERTAIN, headers=bearer_header(make_jwt(ana))).json()["items"] == []


def test_it_skips_one_time_and_no_other(http: httpx.Client, ana: Actor) -> None:
    made = http.post(SCHEDULES, json=WEEKLY, headers=bearer_header(make_jwt(ana))).json()
    where = f"{SCHEDULES}/{made['id']}/proximas"
    second = http.get(where, headers=bearer_header(make_jwt(ana))).json()["items"][1]["wall"]
    shown = http.patch(where, json={"wall": second}, headers=bearer_header(make_jwt(ana))).json()["items"]
    assert [one["skipped"] for one in shown] == [False, True, *[False] * 8]
    for wall in ("0001-01-01T00:00", "9999-12-31T23:59", f"{THURSDAY + timedelta(days=1)}T09:00"):
        assert http.patch(where, json={"wall": wall}, headers=bearer_header(make_jwt(ana))).status_code == 404


# --- files ------------------------------------------------------------------------------------------------------------


def test_it_stops_everything_at_once_and_lets_it_go_on(http: httpx.Client, database: Database, ana: Actor) -> None:
    ours = bearer_header(make_jwt(ana))
    assert http.get(KILL_SWITCH, headers=ours).json() == {"stopped": False, "since": None, "by_staff": False}
    assert http.put(KILL_SWITCH, headers=ours, json={"stopped": True}).json()["stopped"]
    assert kill_switch.get_stop(ana) is not None
    assert not http.put(KILL_SWITCH, headers=ours, json={"stopped": False}).json()["stopped"]
    database.execute("update lanes set stopped_at = now(), stopped_by_staff = true")
    answer = http.put(KILL_SWITCH, headers=ours, json={"stopped": False})
    assert (answer.status_code, answer.json()["code"]) == (409, "parado_pela_equipe")


def test_it_notes_who_asked_for_silence(http: httpx.Client, ana: Actor) -> None:
    ours = bearer_header(make_jwt(ana))
    assert http.post(OPT_OUTS, headers=ours, json={"phone": "ninguém"}).status_code == 422
    assert http.post(OPT_OUTS, headers=ours, json={"phone": "(11) 97777-6666"}).status_code == 200
    first = http.get(OPT_OUTS, headers=ours, params={"limit": 1}).json()
    assert (first["items"][0]["phone"], first["total"]) == ("5511977776666", 2)
    rest = http.get(OPT_OUTS, headers=ours, params={"limit": 1, "cursor": first["next"]}).json()
    assert ([one["phone"] for one in rest["items"]], rest["next"]) == (["5511912345678"], None)
    assert http.get(OPT_OUTS, headers=ours, params={"search": "7777"}).json()["total"] == 1
    assert http.get(OPT_OUTS, headers=ours, params={"cursor": "x"}).status_code == 422
    undo = {"phone": "5511977776666", "reason": ""}
    assert http.post(f"{OPT_OUTS}/desfazer", headers=ours, json=undo).status_code == 422
    undo["reason"] = "falava da consulta"
    assert [http.post(f"{OPT_OUTS}/desfazer", headers=ours, json=undo).status_code for _ in range(2)] == [200, 404]
    assert http.get(OPT_OUTS, headers=ours).json()["total"] == 1


def test_it_tells_which_recipients_of_a_schedule_asked_for_silence(http: httpx.Client, ana: Actor) -> None:
    ours = bearer_header(make_jwt(ana))
    wanted = WEEKLY | {"recipients": [{"phone": "11987654321"}, {"phone": "11912345678"}]}
    made = http.post(SCHEDULES, headers=ours, json=wanted)
    assert (made.status_code, made.json()["silenced"]) == (201, ["5511912345678"])
    assert http.get(f"{SCHEDULES}/{made.json()['id']}", headers=ours).json()["silenced"] == ["5511912345678"]


def test_it_keeps_rules_as_the_page_does(http: httpx.Client, user: Actor) -> None:
    ours, day = bearer_header(make_jwt(user)), {"opens": "08:00", "closes": "18:30"}
    closed_first = {"opens": "18:00", "closes": "08:00"}
    for hours, status in ([day] * 7, 200), ([closed_first] * 7, 422), ([day] * 6, 422), (["8h"] * 7, 422):
        answer = http.put(AUTO_REPLY, headers=ours, json={"reply": "Fechado.", "hours": hours})
        assert answer.status_code == status
    labels = http.post(RULES, headers=ours, json={"words": ["preço"], "label": "Interessado"}).json()["items"]
    assert [(one["kind"], one["reply"], one["label"]) for one in labels] == [
        ("auto_reply", "Fechado.", ""),
        ("label", "", "Interessado"),
    ]
    assert labels[0]["hours"] == [day] * 7
    where = f"{RULES}/{labels[1]['id']}"
    assert not http.patch(where, headers=ours, json={"active": False}).json()["items"][1]["active"]
    assert http.delete(where, headers=ours).status_code == 200
    assert http.delete(where, headers=ours).status_code == 404


def test_it_sets_the_pace_of_a_campaign_within_the_limits(http: httpx.Client, ana: Actor) -> None:
    where, ours = (
        f"{CAMPAIGNS}/{campaigns.list_campaigns(ana)[0][0].id}/ritmo",
        bearer_header(make_jwt(ana)),
    )
    pace = {"opens": "10:00", "closes": "12:00", "daily": 5, "coldShare": 0.1, "seconds": 60.0}
    told = http.put(where, headers=ours, json=pace).json()["pace"]
    assert told == {"opens": "10:00", "closes": "12:00", "daily": 5, "cold_share": 0.1, "seconds": 60.0}
    for wrong in ({"daily": 1_000_000}, {"seconds": 0}, {"opens": "24:00"}, {"opens": "10:00Z"}):
        assert http.put(where, headers=ours, json=pace | wrong).status_code == 422


def test_it_brings_templates_out_and_in_again_and_copies_one(http: httpx.Client, ana: Actor, user: Actor) -> None:
    written = http.get(TEMPLATE_FILE, headers=bearer_header(make_jwt(ana))).content
    theirs = bearer_header(make_jwt(user))
    made = http.post(TEMPLATE_FILE, headers=theirs, content=written)
    assert (made.status_code, [one["message"] for one in made.json()["items"]]) == (201, [MARK])
    assert http.post(TEMPLATE_FILE, headers=theirs, content=b"{").status_code == 422
    copied = http.post(f"{TEMPLATES}/{made.json()['items'][0]['id']}/copia", headers=theirs, json={"name": "Outro"})
    assert (copied.status_code, copied.json()["name"], copied.json()["message"]) == (201, "Outro", MARK)


def test_it_tells_what_systems_heard_and_tells_them_again(http: httpx.Client, database: Database, ana: Actor) -> None:
    ours = bearer_header(make_jwt(ana))
    listed = http.get(ENDPOINTS, headers=ours)
    assert (listed.json()["items"][0]["dead"], "whsec" in listed.text) == (1, False)
    heard = f"{ENDPOINTS}/{listed.json()['items'][0]['id']}/entregas"
    (dead,) = http.get(heard, headers=ours, params={"state": "dead"}).json()["items"]
    assert http.post(f"{DELIVERIES}/{dead['id']}/reenvio", headers=ours).status_code == 200
    assert http.get(heard, headers=ours).json()["items"][0]["state"] == "waiting"
    database.execute("update webhook_deliveries set state = 'dead', dead_at = now()")
    assert http.post(heard.replace("entregas", "reenvio"), headers=ours).json() == {"deliveries": 1}


def test_it_reads_a_chat_again_when_asked(http: httpx.Client, ana: Actor) -> None:
    ours = bearer_header(make_jwt(ana))
    again = f"{CHATS}/{conversations.list_chats(ana).chats[0].contact.id}/releitura"
    asked = http.post(again, headers=ours)
    assert asked.status_code == 202
    gap = http.get(OUTAGES, headers=ours).json()["items"][0]
    assert (gap["id"], gap["reason"]) == (asked.json()["outage_id"], "asked")


def test_it_reports_the_callers_own_days(http: httpx.Client, database: Database, ana: Actor, staff: Actor) -> None:
    first = days.past_week_from(3)
    week = {"first": f"{first}", "last": f"{first + timedelta(days=6)}"}
    nothing = ", 0" * 13
    database.execute(
        f"insert into report_buckets select 'quarter', %s, %s, 'out', null, null, null, 1{nothing}",
        ana.user_id,
        datetime.combine(first + timedelta(days=2), time(12), UTC),
    )
    for who, total in ((ana, 1), (staff, 0)):  # staff too are told their own
        found = http.get(REPORTS, headers=bearer_header(make_jwt(who)), params=week).json()
        assert (found["now"]["total"], len(found["points"])) == (total, total)
    before = f"{first - timedelta(days=1)}"
    for wrong in ({"last": before}, {"last": "0001-01-01"}, {"zone": "Marte/Olympus"}, {"first": "ontem"}):
        assert http.get(REPORTS, headers=bearer_header(make_jwt(ana)), params=week | wrong).status_code == 422


def test_it_says_what_an_uploaded_file_goes_as(http: httpx.Client, ana: Actor) -> None:
    out = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(out, "JPEG")

    def upload(content: bytes, **query: str) -> httpx.Response:
        return http.post(MEDIA, content=content, params=query, headers=bearer_header(make_jwt(ana)))

    picture = upload(out.getvalue(), filename="praia.jpeg")
    assert (picture.status_code, picture.json()["kind"], picture.json()["filename"]) == (201, "image", "praia.jpg")
    assert picture.json()["notices"] == []
    film_shown = upload(film("mov", "libx264"), filename="praia.mov").json()
    assert [film_shown[key] for key in ("kind", "mimetype", "filename")] == ["video", "video/mp4", "praia.mp4"]
    assert upload(b"a note", filename="nota.txt").json()["mimetype"] == "text/plain"
    assert upload(out.getvalue(), kind="document").json()["kind"] == "document"
    sent = {"phone": "11987654321", "kind": "video", "mediaId": picture.json()["id"]}
    refused = http.post(SEND, json=sent, headers=bearer_header(make_jwt(ana)))
    assert (refused.status_code, refused.json()["code"]) == (422, "arquivo_de_outro_tipo")


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"", "", 422, "arquivo_quebrado"),
        (b"\xff\xd8\xff\xe0 broken", "", 422, "arquivo_quebrado"),
        (b"%PDF-1.7", "image", 422, "arquivo_de_outro_tipo"),
        (b"x", "chat", 422, "entrada_invalida"),
        (b"x", "nothing", 422, "campos_invalidos"),
        (b"\0" * (17 * 1024 * 1024), "image", 422, "arquivo_grande"),
        (b"\0" * (36 * 1024 * 1024 + 1), "", 413, "corpo_grande"),
    ],
    ids=range(7),
)
def test_it_keeps_no_file_that_whatsapp_would_not_take(
    http: httpx.Client, ana: Actor, content: bytes, kind: str, status: int, code: str
) -> None:
    query = {"kind": kind} if kind else {}
    answer = http.post(MEDIA, content=content, params=query, headers=bearer_header(make_jwt(ana)))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert len(media_store.list_media(ana, 10)) == 1


# --- live, browsers, the document -------------------------------------------------------------------------------------


def test_it_streams_the_state_each_time_it_changes(http: httpx.Client, database: Database, ana: Actor) -> None:
    with http.stream("GET", f"{SESSION}/ao-vivo", headers=bearer_header(make_jwt(ana))) as answer:
        lines = answer.iter_lines()

        def event() -> Any:
            assert next(lines) == "event: sessao"
            found = json.loads(next(lines).removeprefix("data: "))
            assert next(lines) == ""
            return found

        assert event()["status"] == "conectado"
        database.execute("update whatsapp_sessions set status = 'desconectado', failure = 'lost'")
        assert (changed := event())["status"] == "desconectado"
        assert changed["failure"] == "lost"
        database.execute("insert into accounts (user_id, active) values (%s, false)", ana.user_id)
        assert list(lines) == []


def test_it_lets_only_the_owners_pages_in(http: httpx.Client) -> None:
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, x-client-info, apikey, content-type",
    }
    good = http.options(SEND, headers={"Origin": ORIGIN, **asked})
    assert (good.status_code, good.headers["access-control-allow-origin"]) == (200, ORIGIN)
    bad = http.options(SEND, headers={"Origin": "https://evil.example.com", **asked})
    assert "access-control-allow-origin" not in bad.headers


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PUT", SEND, 405)])
def test_it_answers_in_one_shape_where_there_is_nothing(
    http: httpx.Client, method: str, path: str, status: int
) -> None:
    answer = http.request(method, path)
    assert answer.status_code == status
    assert {"code", "message", "hint"} <= set(answer.json())


def test_it_describes_itself_to_programs_and_people(http: httpx.Client) -> None:
    assert http.get("/openapi.json").json() == openapi.document()
    page = http.get("/docs")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert all(path in page.text for _, path in OPERATIONS)


def test_it_says_503_while_the_database_is_away(http: httpx.Client, database: Database, ana: Actor) -> None:
    credential = make_jwt(ana)
    name = database.one("select current_database()")
    elsewhere = Database(database.url.replace(f"/{name}", "/postgres"))
    elsewhere.execute(f"alter database {name} allow_connections false")
    elsewhere.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", name)
    answer = http.get(SESSION, headers=bearer_header(credential))
    elsewhere.execute(f"alter database {name} allow_connections true")
    assert (answer.status_code, answer.json()["code"]) == (503, "banco_indisponivel")
    assert http.get(SESSION, headers=bearer_header(credential)).status_code == 200
