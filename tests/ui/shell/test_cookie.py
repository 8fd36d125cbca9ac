"""The route that sets the sign-in cookie, and the security headers, over real ASGI requests."""

from http.cookies import SimpleCookie

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from services import settings
from services.accounts import cookie_tokens
from services.accounts.cookie_tokens import TokenKind
from services.accounts.sign_in import SignIn, open_sign_in, sign_out
from services.db import engine
from services.db.actor import Actor
from tests.support.databases import Database
from ui.shell import cookie, headers

SAME_ORIGIN = {"sec-fetch-site": "same-origin"}


def who(request: Request) -> PlainTextResponse:
    actor = cookie.actor_of(request)
    return PlainTextResponse(str(actor.user_id) if actor else "nobody")


def client(scheme: str = "http") -> TestClient:
    routes = [*cookie.routes(), Route("/who", who)]
    app = Starlette(routes=routes, middleware=[Middleware(headers.SecurityHeaders)])
    return TestClient(app, base_url=f"{scheme}://console.example.com")


@pytest.fixture
def sign_in(user: Actor) -> SignIn:
    assert user.user_id is not None
    return open_sign_in(user.user_id)


@pytest.fixture
def ticket(sign_in: SignIn) -> str:
    return cookie_tokens.encode_token(sign_in, TokenKind.TICKET)


def test_it_sets_a_cookie_that_no_script_can_read(user: Actor, ticket: str) -> None:
    browser = client()
    answer = browser.post(cookie.PATH, content=ticket, headers=SAME_ORIGIN)
    assert answer.status_code == 204
    morsel = SimpleCookie(answer.headers["set-cookie"])[cookie.COOKIE_NAME]
    assert morsel["httponly"]
    assert morsel["samesite"].lower() == "lax"
    assert morsel["path"] == "/"
    assert int(morsel["max-age"]) == 7 * 24 * 3600
    assert not morsel["secure"]
    assert browser.get("/who").text == str(user.user_id)


@pytest.mark.parametrize(
    ("proxies", "forwarded", "seen"),
    [
        ("", "203.0.113.7", "10.0.0.1"),
        ("10.0.0.0/8", "203.0.113.7", "203.0.113.7"),
        ("10.0.0.0/8", "6.6.6.6, 203.0.113.7, 10.1.1.1", "203.0.113.7"),
        ("192.168.0.0/16", "203.0.113.7", "10.0.0.1"),
    ],
)
def test_it_takes_the_word_of_our_own_proxies_alone(
    proxies: str, forwarded: str, seen: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", proxies)
    settings.get.cache_clear()

    async def http(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.client.host if request.client else "?")

    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(socket.client.host if socket.client else "?")
        await socket.close()

    routes = [Route("/", http), WebSocketRoute("/live", live)]
    app = Starlette(routes=routes, middleware=[Middleware(headers.ClientAddress)])
    browser = TestClient(app, client=("10.0.0.1", 1234), headers={"x-forwarded-for": forwarded})
    assert browser.get("/").text == seen
    with browser.websocket_connect("/live") as socket:
        assert socket.receive_text() == seen


def test_it_sets_it_secure_over_https_and_where_the_settings_say_so(
    ticket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = client("https").post(cookie.PATH, content=ticket, headers=SAME_ORIGIN)
    assert SimpleCookie(answer.headers["set-cookie"])[cookie.COOKIE_NAME]["secure"]
    monkeypatch.setenv("COOKIE_SECURE", "true")
    settings.get.cache_clear()
    answer = client().post(cookie.PATH, content=ticket, headers=SAME_ORIGIN)
    assert SimpleCookie(answer.headers["set-cookie"])[cookie.COOKIE_NAME]["secure"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ({"sec-fetch-site": "same-origin"}, 204),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "none"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "http://console.example.com"}, 403),
        ({"origin": "http://console.example.com"}, 204),
        ({"origin": "http://evil.example.com"}, 403),
        ({"origin": "http://console.example.com.evil.com"}, 403),
        ({"origin": "null"}, 403),
        ({}, 403),
    ],
)
def test_it_serves_our_own_pages_alone(ticket: str, sent: dict[str, str], status: int) -> None:
    for answer in (
        client().post(cookie.PATH, content=ticket, headers=sent),
        client().delete(cookie.PATH, headers=sent),
    ):
        assert answer.status_code == status
        assert ("set-cookie" in answer.headers) == (status == 204)


def test_it_refuses_what_is_no_fresh_ticket(sign_in: SignIn, ticket: str) -> None:
    for body in (b"", b"garbage", b"\xff\x00", cookie_tokens.encode_token(sign_in).encode(), ticket[:-3].encode()):
        answer = client().post(cookie.PATH, content=body, headers=SAME_ORIGIN)
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert client().post(cookie.PATH, content=b"x" * 5000, headers=SAME_ORIGIN).status_code == 413
    sign_out(sign_in)
    assert client().post(cookie.PATH, content=ticket, headers=SAME_ORIGIN).status_code == 403


def test_it_answers_post_and_delete_only(ticket: str) -> None:
    for method in ("GET", "PUT", "PATCH", "HEAD", "OPTIONS"):
        assert client().request(method, cookie.PATH, headers=SAME_ORIGIN).status_code == 405


def test_it_clears_the_cookie(ticket: str) -> None:
    browser = client()
    browser.post(cookie.PATH, content=ticket, headers=SAME_ORIGIN)
    assert browser.delete(cookie.PATH, headers=SAME_ORIGIN).status_code == 204
    assert browser.get("/who").text == "nobody"


def test_it_knows_nobody_by_a_forged_cookie(user: Actor) -> None:
    browser = client()
    browser.cookies.set(cookie.COOKIE_NAME, "a.b.c")
    assert browser.get("/who").text == "nobody"


def test_it_says_503_when_the_database_is_down(ticket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTH_COOKIE_KEY", cookie.settings.get().auth.cookie_key.get_secret_value())
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    cookie.settings.get.cache_clear()
    engine.get_console_engine.cache_clear()
    answer = client().post(cookie.PATH, content=ticket, headers=SAME_ORIGIN)
    assert (answer.status_code, answer.text) == (503, "banco_indisponivel")


def test_it_checks_websockets_by_the_same_rule() -> None:
    def opened(**sent: str) -> HTTPConnection:
        pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()]
        return HTTPConnection({"type": "websocket", "headers": pairs})

    assert cookie.same_origin(opened(host="a.example.com:8501", origin="http://a.example.com:8501"))
    assert cookie.same_origin(opened(host="a.example.com", origin="https://A.example.com"))
    assert not cookie.same_origin(opened(host="a.example.com", origin="https://b.example.com"))
    assert not cookie.same_origin(opened(host="a.example.com:8501", origin="http://a.example.com:8502"))
    assert not cookie.same_origin(opened(host="a.example.com"))
    assert not cookie.same_origin(opened())


def test_it_puts_the_security_headers_on_every_answer(ticket: str) -> None:
    for scheme in ("http", "https"):
        for answer in (client(scheme).get("/who"), client(scheme).get("/missing"), client(scheme).get(cookie.PATH)):
            for name, value in headers.HEADERS.items():
                assert answer.headers[name] == value
            assert ("strict-transport-security" in answer.headers) == (scheme == "https")
    policy = headers.CONTENT_SECURITY_POLICY
    assert "frame-ancestors 'self'" in policy
    assert "object-src 'none'" in policy
    assert "https:" not in policy
    assert "*" not in policy
