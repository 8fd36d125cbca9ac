"""The API over real HTTP: who may, what it answers, and that nobody sees another's."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services import messages
from services.db.actor import Actor
from tests.conftest import Database, connected
from tests.installation import wait_for
from tests.web.conftest import ORIGIN
from tests.web.credentials import bearer, token
from web import openapi
from web.api import MESSAGES, SEND, SESSION

OPERATIONS = [(method.upper(), path) for path, methods in openapi.document()["paths"].items() for method in methods]
MARK = "a text that only its owner may read"


@pytest.fixture
def http(companion: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{companion}", timeout=30) as client:
        yield client


@pytest.fixture
def ana(database: Database, new_actor: Callable[..., Actor]) -> Actor:
    """Somebody with a session and a message."""
    actor = new_actor()
    connected(database, actor)
    messages.queue(actor, "11 98765-4321", MARK, "key-of-ana")
    return actor


def message_of(actor: Actor) -> str:
    return str(messages.recent(actor)[0].id)


def call(
    http: httpx.Client, method: str, path: str, credential: str | None, message: str = "", **more: Any
) -> httpx.Response:
    """Any operation, with input that it takes; a stream is read up to its first event."""
    headers = {**(bearer(credential) if credential else {}), "Prefer": "respond-async", **more.pop("headers", {})}
    if path == SEND and method == "POST":
        more.setdefault("json", {"phone": "11987654321", "message": "Olá"})
    with http.stream(method, path.replace("{id}", message or str(uuid4())), headers=headers, **more) as answer:
        if answer.headers["content-type"].startswith("text/event-stream"):
            answer._content = next(answer.iter_raw())
        else:
            answer.read()
        return answer


# --- who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_it_refuses_whoever_has_no_credential(http: httpx.Client, database: Database, method: str, path: str) -> None:
    for credential in (None, "nonsense", token(uuid4()), token(uuid4(), "x" * 40), "plk_" + "x" * 43):
        answer = call(http, method, path, credential)
        assert answer.status_code == 401
        assert set(answer.json()) == {"code", "message", "hint", "request_id"}
        assert answer.headers["www-authenticate"] == "Bearer"
    wait_for(lambda: database.one("select count(*) >= 4 from security_events where kind = 'api_refused'"))


def test_it_notes_why_it_refused_and_nothing_of_the_token(http: httpx.Client, database: Database, user: Actor) -> None:
    bad = token(user, exp=1)
    assert http.get(SESSION, headers=bearer(bad)).status_code == 401
    wait_for(lambda: database.one("select count(*) = 1 from security_events"))
    ((kind, subject, detail),) = database.execute("select kind, subject, detail::text from security_events")
    assert (kind, subject) == ("api_refused", "expired")
    assert bad not in detail


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_it_shows_nobody_anothers_rows(
    http: httpx.Client, database: Database, ana: Actor, user: Actor, method: str, path: str
) -> None:
    before = database.execute("select id, state, body from messages where user_id = %s", ana.user_id)
    answer = call(http, method, path, token(user), message_of(ana))
    assert answer.status_code != 500
    for private in (MARK, str(ana.user_id), message_of(ana), "5511987654321"):
        assert private not in answer.text
    assert database.execute("select id, state, body from messages where user_id = %s", ana.user_id) == before
    assert database.one("select status from whatsapp_sessions where user_id = %s", ana.user_id) == "conectado"


@pytest.mark.parametrize(("method", "path"), [(m, p) for m, p in OPERATIONS if m == "GET"])
def test_it_shows_everybody_their_own(http: httpx.Client, ana: Actor, method: str, path: str) -> None:
    answer = call(http, method, path, token(ana), message_of(ana))
    assert answer.status_code == 200
    assert MARK in answer.text or f"user_{ana.user_id}" in answer.text


def test_it_takes_key_and_text_of_two_users_apart(
    http: httpx.Client, database: Database, ana: Actor, user: Actor
) -> None:
    connected(database, user)
    sent = {"phone": "11987654321", "message": "outra"}
    answer = call(http, "POST", SEND, token(user), json=sent, headers={"Idempotency-Key": "key-of-ana"})
    assert answer.status_code == 202
    assert answer.json()["message"] == "outra"


# --- sending and reading ----------------------------------------------------------------------------------------------


def test_it_says_where_to_ask_while_a_message_is_on_its_way(http: httpx.Client, ana: Actor) -> None:
    answer = call(http, "POST", SEND, token(ana))
    assert answer.status_code == 202
    where = answer.headers["location"]
    assert where == f"{SEND}/{answer.json()['id']}"
    assert http.get(where, headers=bearer(token(ana))).json() == answer.json()


def test_it_queues_the_same_key_once_however_many_ask_at_once(
    http: httpx.Client, database: Database, ana: Actor
) -> None:
    def send(_: int) -> httpx.Response:
        return call(http, "POST", SEND, token(ana), headers={"Idempotency-Key": "one"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(24)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert database.one("select count(*) from messages where idempotency_key = 'one'") == 1


def test_it_refuses_a_key_that_named_another_text(http: httpx.Client, ana: Actor) -> None:
    answer = call(http, "POST", SEND, token(ana), headers={"Idempotency-Key": "key-of-ana"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflito")


def test_it_keeps_a_message_for_later(http: httpx.Client, ana: Actor) -> None:
    wanted = {"phone": "11987654321", "message": "depois", "runAt": "2031-05-01T09:00:00-03:00"}
    answer = http.post(SEND, json=wanted, headers=bearer(token(ana)))
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    assert answer.json()["run_at"] == "2031-05-01T12:00:00Z"
    assert answer.elapsed.total_seconds() < 3


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "corpo_invalido"),
        (b"{", 400, "corpo_invalido"),
        (b"[" * 100_000, 400, "corpo_invalido"),
        (b"[]", 422, "campos_invalidos"),
        (b"{}", 422, "campos_invalidos"),
        (b'{"phone":1,"message":"x"}', 422, "campos_invalidos"),
        (b'{"phone":"11987654321","message":"x","runAt":"2031-05-01T09:00:00"}', 422, "campos_invalidos"),
        (b'{"phone":"123","message":"x"}', 422, "telefone_invalido"),
        (b'{"phone":"11987654321","message":"  "}', 422, "mensagem_vazia"),
        (b'{"phone":"11987654321","message":"%s"}' % (b"x" * 4097), 422, "mensagem_longa"),
        (b'{"phone":"11987654321","message":"a\\u0000b"}', 422, "entrada_invalida"),
        (b" " * (1024 * 1024 + 1), 413, "corpo_grande"),
    ],
    ids=range(12),
)
def test_it_says_what_is_wrong_with_the_input(
    http: httpx.Client, database: Database, ana: Actor, content: bytes, status: int, code: str
) -> None:
    answer = http.post(SEND, content=content, headers=bearer(token(ana)))
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert database.one("select count(*) from messages") == 1


def test_it_does_not_send_from_a_session_that_is_not_up(http: httpx.Client, user: Actor) -> None:
    answer = call(http, "POST", SEND, token(user))
    assert (answer.status_code, answer.json()["code"]) == (409, "sessao_desconectada")


def test_it_tells_who_waited_that_a_message_failed(http: httpx.Client, database: Database, ana: Actor) -> None:
    database.execute(
        "create function fail() returns trigger language plpgsql security definer as $$ begin"
        " update public.messages set state = 'failed', failure = 'not_on_whatsapp' where id = new.id; return null;"
        " end $$; create trigger fail after insert on messages for each row execute function fail()"
    )
    answer = http.post(SEND, json={"phone": "11987654321", "message": "x"}, headers=bearer(token(ana)))
    assert (answer.status_code, answer.json()["code"]) == (409, "numero_sem_whatsapp")
    assert answer.json()["state"] == "failed"
    assert http.get(f"{SEND}/{answer.json()['id']}", headers=bearer(token(ana))).json()["failure"] == "not_on_whatsapp"


def test_it_lists_every_message_once_by_pages(http: httpx.Client, ana: Actor) -> None:
    for number in range(6):
        messages.queue(ana, "11987654321", f"texto {number}", f"k{number}")
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3, "direction": "out"}
    while True:
        page = http.get(MESSAGES, params=query, headers=bearer(token(ana))).json()
        seen += [one["message"] for one in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert seen == [*(f"texto {number}" for number in reversed(range(6))), MARK]
    assert http.get(MESSAGES, params={"direction": "in"}, headers=bearer(token(ana))).json()["items"] == []


@pytest.mark.parametrize("cursor", ["x", "ÿ", "bnVsbA==", "LTE=", "W10=", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk="])
def test_it_refuses_a_cursor_that_is_none(http: httpx.Client, ana: Actor, cursor: str) -> None:
    answer = http.get(MESSAGES, params={"cursor": cursor}, headers=bearer(token(ana)))
    assert (answer.status_code, answer.json()["code"]) == (422, "cursor_invalido")


# --- live, browsers, the document -------------------------------------------------------------------------------------


def test_it_streams_the_state_each_time_it_changes(http: httpx.Client, database: Database, ana: Actor) -> None:
    with http.stream("GET", f"{SESSION}/ao-vivo", headers=bearer(token(ana))) as answer:
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
    credential = token(ana)
    name = database.one("select current_database()")
    elsewhere = Database(database.url.replace(f"/{name}", "/postgres"))
    elsewhere.execute(f"alter database {name} allow_connections false")
    elsewhere.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", name)
    answer = http.get(SESSION, headers=bearer(credential))
    elsewhere.execute(f"alter database {name} allow_connections true")
    assert (answer.status_code, answer.json()["code"]) == (503, "banco_indisponivel")
    assert http.get(SESSION, headers=bearer(credential)).status_code == 200
