"""What the client asks for, and what it makes of good answers."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import structlog
from starlette.responses import Response

from services.errors import ConfigurationError, InvalidInput
from services.wppconnect import errors
from services.wppconnect.client import (
    Chat,
    ChatMessage,
    Contact,
    Device,
    Identity,
    NumberCheck,
    SentMessage,
    SessionState,
    WppClient,
)
from services.wppconnect.session_tokens import create_session_token
from tests.support.wpp_fakes import SECRET, SESSION, FakeServer, ReceivedRequest, closed_port

MESSAGE_ID = "true_5511999999999@c.us_3EB0C4_out"
WEBHOOK = "https://wpp:w3bh00k@console.example/webhook/x"


def sent(**more: Any) -> dict[str, Any]:
    item = {"id": MESSAGE_ID, "ack": 0, "t": 1_760_000_000, "to": "5511999999999@c.us", **more}
    return {"status": "success", "response": [item], "mapper": "return"}


def test_it_starts_a_session_and_always_sends_the_webhook(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(200, {"status": "CLOSED", "qrcode": None, "session": SESSION})
    assert wpp.start_session(fake.url, SESSION, WEBHOOK) == SessionState("CLOSED")
    assert (fake.last.method, fake.last.path) == ("POST", f"/api/{SESSION}/start-session")
    assert fake.last.body == {"webhook": WEBHOOK, "waitQrCode": False}


def test_it_reads_the_first_qr_of_a_waiting_start(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(200, {"status": "qrcode", "qrcode": "iVBORw0KGgo=", "urlcode": "2@abc", "session": SESSION})
    state = wpp.start_session(fake.url, SESSION, WEBHOOK, wait_qr=True)
    assert state == SessionState("QRCODE", urlcode="2@abc", qrcode="iVBORw0KGgo=")
    assert fake.last.body["waitQrCode"] is True


def test_it_pairs_by_code(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(200, {"status": "phoneCode", "phone": "5511999999999", "phoneCode": "ABCD-1234"})
    state = wpp.start_session(fake.url, SESSION, WEBHOOK, phone="5511999999999", wait_qr=True)
    assert state == SessionState("PHONECODE", phone_code="ABCD-1234")
    assert fake.last.body["phone"] == "5511999999999"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"status": None, "qrcode": None}, SessionState("CLOSED")),
        ({"qrcode": None}, SessionState("CLOSED")),
        ({"status": "INITIALIZING", "version": "2.10.4"}, SessionState("INITIALIZING", version="2.10.4")),
        (
            {"status": "QRCODE", "qrcode": "data:image/png;base64,iVBORw0KGgo=", "urlcode": "2@x"},
            SessionState("QRCODE", "2@x", "iVBORw0KGgo="),
        ),
        (
            {"status": "CONNECTED", "qrcode": "data:image/png;base64,b2xk", "urlcode": "2@old"},
            SessionState("CONNECTED"),
        ),
        ({"status": "QRCODE", "qrcode": '"><script>', "urlcode": 7}, SessionState("QRCODE", "7")),
    ],
)
def test_it_normalises_the_status(
    fake: FakeServer, wpp: WppClient, data: dict[str, Any], expected: SessionState
) -> None:
    fake.answers(200, data)
    assert wpp.status_session(fake.url, SESSION) == expected
    assert (fake.last.method, fake.last.path) == ("GET", f"/api/{SESSION}/status-session")


@pytest.mark.parametrize("alive", [True, False])
def test_it_checks_the_connection(fake: FakeServer, wpp: WppClient, alive: bool) -> None:
    fake.answers(200, {"status": alive, "message": "Connected" if alive else "Disconnected"})
    assert wpp.check_connection(fake.url, SESSION) is alive


def test_it_tolerates_the_500_of_a_close_that_does_close(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(500, {"status": False, "message": "Error closing session", "error": {}})
    assert wpp.close_session(fake.url, SESSION) is False
    fake.answers(200, {"status": True, "message": "Session successfully closed"})
    assert wpp.close_session(fake.url, SESSION) is True
    assert fake.last.path == f"/api/{SESSION}/close-session"


def test_it_takes_a_close_that_a_proxy_answered_for_unknown(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(500, "<h1>Internal Server Error</h1>", "text/html")
    with pytest.raises(errors.WppOutcomeUnknown):
        wpp.close_session(fake.url, SESSION)


def test_it_says_false_when_there_was_nothing_to_log_out(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(404, {"response": None, "status": "Disconnected", "message": "A sessão não está ativa."})
    assert wpp.logout_session(fake.url, SESSION) is False
    fake.answers(200, {"status": True, "message": "Session successfully closed"})
    assert wpp.logout_session(fake.url, SESSION) is True


def test_it_reads_the_device(fake: FakeServer, wpp: WppClient) -> None:
    device = {"id": {}, "phoneNumber": "5511988887777@c.us", "platform": "android", "pushname": "Ana", "battery": 77}
    fake.answers(200, {"status": "success", "response": device, "mapper": "device"})
    assert wpp.host_device(fake.url, SESSION) == Device("5511988887777", "android", "Ana", 77)


@pytest.mark.parametrize(
    "wid",
    ["5511988887777@c.us", "5511988887777:12@c.us", {"_serialized": "5511988887777@c.us"}, 5511988887777],
)
def test_it_reads_the_own_number(fake: FakeServer, wpp: WppClient, wid: Any) -> None:
    fake.answers(200, {"status": "success", "response": wid})
    assert wpp.phone_number(fake.url, SESSION) == "5511988887777"


def test_it_takes_no_number_for_nobody_signed_in(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(200, {"status": "success", "response": None})
    with pytest.raises(errors.WppDisconnected):
        wpp.phone_number(fake.url, SESSION)


def test_it_does_not_take_a_lid_for_the_own_number(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(200, {"status": "success", "response": "12345678901234@lid"})
    with pytest.raises(errors.WppUnreachable):
        wpp.phone_number(fake.url, SESSION)


def test_it_asks_for_the_address_that_whatsapp_uses(fake: FakeServer, wpp: WppClient) -> None:
    found = {"id": {"_serialized": "553199999999@c.us"}, "numberExists": True}
    fake.answers(200, {"status": "success", "response": found})
    assert wpp.check_number(fake.url, SESSION, "5531999999999") == NumberCheck(True, "553199999999@c.us")
    assert fake.last.path == f"/api/{SESSION}/check-number-status/5531999999999"


def test_it_gives_no_address_for_a_number_that_is_not_there(fake: FakeServer, wpp: WppClient) -> None:
    found = {"id": {"_serialized": "553133334444@c.us"}, "numberExists": False}
    fake.answers(200, {"status": "success", "response": found})
    assert wpp.check_number(fake.url, SESSION, "553133334444@c.us") == NumberCheck(False)


@pytest.mark.parametrize(
    ("address", "fields"),
    [
        ("5511999999999", {"phone": "5511999999999"}),
        ("5511999999999@c.us", {"phone": "5511999999999"}),
        ("123456789012345@lid", {"phone": "123456789012345", "isLid": True}),
        ("12345678901234@lid", {"phone": "12345678901234", "isLid": True}),
    ],
)
def test_it_sends_a_text(fake: FakeServer, wpp: WppClient, address: str, fields: dict[str, Any]) -> None:
    fake.answers(201, sent())
    message = wpp.send_text(fake.url, SESSION, address, "Olá! ❤")
    assert message == SentMessage(MESSAGE_ID, 0, 1_760_000_000, "5511999999999@c.us")
    assert (fake.last.method, fake.last.path) == ("POST", f"/api/{SESSION}/send-message")
    assert fake.last.body == {**fields, "message": "Olá! ❤", "isGroup": False}
    assert fake.last.headers["content-type"] == "application/json"


def test_it_reads_an_id_that_comes_as_an_object(fake: FakeServer, wpp: WppClient) -> None:
    key = {"fromMe": True, "remote": "5511999999999@c.us", "id": "3EB0C4_out"}
    fake.answers(201, sent(id=key, ack=1))
    assert wpp.send_text(fake.url, SESSION, "5511999999999", "oi").id == MESSAGE_ID
    fake.answers(201, sent(id={**key, "_serialized": "true_x@c.us_1"}))
    assert wpp.send_text(fake.url, SESSION, "5511999999999", "oi").id == "true_x@c.us_1"


def test_it_sends_a_text_that_is_not_valid_unicode(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(201, sent())
    assert wpp.send_text(fake.url, SESSION, "5511999999999", "a\ud800b").id == MESSAGE_ID


@pytest.mark.parametrize(
    "address",
    ["+55 (11) 99999-9999", "", "equipe@g.us", "123-456@g.us", "abc", "123456789012345", "x@lid", "@lid",
     "5511999999999,5511888888888", "5511999999999\n", "٥٥١١٩٩٩٩٩٩٩٩٩", "status@broadcast"],
)  # fmt: skip
def test_it_never_sends_to_what_the_server_would_misread(fake: FakeServer, wpp: WppClient, address: str) -> None:
    with pytest.raises(errors.InvalidPhone):
        wpp.send_text(fake.url, SESSION, address, "oi")
    with pytest.raises(errors.InvalidPhone):
        wpp.check_number(fake.url, SESSION, address)
    assert fake.seen == []


def test_it_reads_a_chat_back(fake: FakeServer, wpp: WppClient) -> None:
    items: list[Any] = [
        {"id": MESSAGE_ID, "body": "oi", "fromMe": True, "t": 1_760_000_000, "ack": 3, "to": "5511999999999@c.us",
         "from": "5511988887777@c.us", "type": "chat", "chatId": {"_serialized": "5511999999999@c.us"}},
        {"id": {"_serialized": "false_5511999999999@c.us_A"}, "body": 12, "t": "1760000001", "type": None},
        {"body": "no id"},
        "not a message",
    ]  # fmt: skip
    fake.answers(200, {"status": "success", "response": items})
    mine, theirs = wpp.get_messages(fake.url, SESSION, "5511999999999", count=5, before_id="true_a@c.us_B")
    assert mine == ChatMessage(
        MESSAGE_ID,
        "oi",
        True,
        1_760_000_000,
        3,
        "5511988887777@c.us",
        "5511999999999@c.us",
        "chat",
        "5511999999999@c.us",
    )
    assert theirs == ChatMessage("false_5511999999999@c.us_A", "12", False, 1_760_000_001)
    assert fake.last.path == f"/api/{SESSION}/get-messages/5511999999999"
    assert fake.last.query == "count=5&direction=before&id=true_a%40c.us_B"


def test_it_reads_a_lid_chat_under_its_address(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(200, {"status": "success", "response": []})
    assert wpp.get_messages(fake.url, SESSION, "12345678901234@lid") == []
    assert fake.last.path == f"/api/{SESSION}/get-messages/12345678901234@lid"


@pytest.mark.parametrize(
    ("asked", "path"), [("12345678901234@lid", "12345678901234@lid"), ("5511999999999", "5511999999999@c.us")]
)
def test_it_maps_a_lid_to_a_phone(fake: FakeServer, wpp: WppClient, asked: str, path: str) -> None:
    lid, phone = {"_serialized": "12345678901234@lid"}, {"user": "5511999999999", "server": "c.us"}
    fake.answers(200, {"lid": lid, "phoneNumber": phone, "contact": {}})
    assert wpp.identify(fake.url, SESSION, asked) == Identity("5511999999999", "12345678901234@lid")
    assert fake.last.path == f"/api/{SESSION}/contact/pn-lid/{path}"
    fake.answers(200, {"lid": phone, "phoneNumber": lid})
    assert wpp.identify(fake.url, SESSION, asked) == Identity()


def test_it_lists_chats_from_a_bare_list(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(
        200,
        [
            {"id": {"_serialized": "1@g.us"}, "unreadCount": -1, "t": 1_760_000_000},
            {"id": "2@c.us", "unreadCount": 3, "contact": {"formattedName": "Ana"}},
            {"id": "3@g.us", "name": "Equipe"},
            5,
        ],
    )
    assert wpp.list_chats(fake.url, SESSION) == [
        Chat("1@g.us", 0, 1_760_000_000, True),
        Chat("2@c.us", 3, name="Ana"),
        Chat("3@g.us", is_group=True, name="Equipe"),
    ]


def test_it_lists_the_address_book(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(200, {"response": [{"id": "1@c.us", "name": "Ana"}, {"id": "2@c.us"}, {"name": "Bia"}, None]})
    assert wpp.all_contacts(fake.url, SESSION) == [Contact("1@c.us", "Ana"), Contact("2@c.us")]


def test_it_puts_the_secret_into_the_url_only_where_the_server_wants_it(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(200, {"success": True})
    wpp.clear_session_data(fake.url, SESSION)
    assert (
        fake.last.path == f"/api/{SESSION}/S3cr3t%2FKey%2Bwith%25odd%26chars-and-more-than-31-bytes/clear-session-data"
    )
    fake.answers(200, {"response": ["user_a", "user_b", 3]})
    assert wpp.show_all_sessions(fake.url) == ["user_a", "user_b"]
    assert "authorization" not in fake.last.headers


# Tokens


def accepts(token: str, session: str, secret: str) -> bool:
    """What the server does: swap the signs back and compare, reading 72 bytes."""
    digest = token.replace("_", "/").replace("-", "+").encode()
    return bcrypt.checkpw((session + secret).encode()[:72], digest)


@pytest.mark.parametrize("secret", ["k", SECRET, "ção-" * 30])
def test_it_makes_the_token_the_server_accepts(secret: str) -> None:
    token = create_session_token(SESSION, secret)
    assert token.startswith("$2b$04$")
    assert "/" not in token
    assert accepts(token, SESSION, secret)
    assert not accepts(token, SESSION.replace("0", "1"), secret)
    assert not accepts(token, SESSION, "x" + secret)


def test_it_authorises_each_session_with_its_own_cached_token(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(200, {"status": "CLOSED"})
    for session in (SESSION, "user_b", SESSION):
        wpp.status_session(fake.url, session)
    first, other, again = [seen.headers["authorization"].removeprefix("Bearer ") for seen in fake.seen]
    assert accepts(first, SESSION, SECRET)
    assert accepts(other, "user_b", SECRET)
    assert first == again != other


def test_it_keeps_only_so_many_tokens(fake: FakeServer) -> None:
    fake.answers(200, {"status": "CLOSED"})
    with WppClient({fake.url: SECRET}, max_tokens=2) as client:
        for session in ("a", "b", "a", "c", "a", "b"):
            client.status_session(fake.url, session)
        assert len(client._tokens) == 2
    tokens = [seen.headers["authorization"] for seen in fake.seen]
    assert tokens[0] == tokens[2] == tokens[4]  # "a" was used again before "c" came
    assert tokens[1] != tokens[5]  # "b" was the oldest then


def test_it_serves_many_threads(fake: FakeServer, wpp: WppClient) -> None:
    def echo(seen: ReceivedRequest) -> Response:
        session = seen.path.split("/")[2]
        good = accepts(seen.headers["authorization"].removeprefix("Bearer "), session, SECRET)
        return Response(f'{{"status":"{session if good else "bad"}"}}', media_type="application/json")

    fake.answer = echo
    barrier = threading.Barrier(8)

    def ask(number: int) -> str:
        if number < 8:
            barrier.wait(10)
        return wpp.status_session(fake.url, f"user_{number % 5}").status

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(80))) == [f"USER_{number % 5}" for number in range(80)]


# Where requests may go


def test_it_refuses_a_server_that_is_not_configured(fake: FakeServer) -> None:
    with WppClient({closed_port(): SECRET}) as client, pytest.raises(ConfigurationError) as caught:
        client.status_session(fake.url, SESSION)
    assert fake.seen == []
    assert fake.url not in str(caught.value)


def test_it_knows_a_server_by_either_spelling_of_its_url(fake: FakeServer) -> None:
    fake.answers(200, {"status": "CLOSED"})
    with WppClient({fake.url + "/": SECRET}) as client:
        assert client.status_session(fake.url, SESSION).status == "CLOSED"
        assert client.status_session(fake.url + "/", SESSION).status == "CLOSED"


@pytest.mark.parametrize("url", ["", "ftp://host", "/etc/passwd", "http://", "http://host:port", "host:21465"])
def test_it_refuses_an_address_that_is_not_http(url: str) -> None:
    with pytest.raises(ConfigurationError):
        WppClient({url: SECRET})


@pytest.mark.parametrize("session", ["../x", "a/b", "a:b", "a b", "a?b", "é", "a" * 65])
def test_it_refuses_a_session_name_that_would_change_the_url(fake: FakeServer, wpp: WppClient, session: str) -> None:
    with pytest.raises(InvalidInput):
        wpp.status_session(fake.url, session)
    assert fake.seen == []


def test_it_follows_no_redirect(fake: FakeServer, wpp: WppClient) -> None:
    fake.answer = lambda _seen: Response(status_code=307, headers={"Location": f"{fake.url}/elsewhere"})
    with pytest.raises(errors.WppRefused):
        wpp.clear_session_data(fake.url, SESSION)
    assert len(fake.seen) == 1


def test_it_ignores_proxies_and_netrc(fake: FakeServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTP_PROXY", closed_port())
    monkeypatch.delenv("NO_PROXY", raising=False)
    fake.answers(200, {"status": "CLOSED"})
    with WppClient({fake.url: SECRET}) as client:
        client.status_session(fake.url, SESSION)
    assert fake.last.headers["authorization"].startswith("Bearer ")


# The request id


def test_it_passes_the_request_id_on(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(200, {"status": "CLOSED"})
    with structlog.contextvars.bound_contextvars(request_id="req-1.a_B"):
        wpp.status_session(fake.url, SESSION)
    wpp.status_session(fake.url, SESSION)
    assert [seen.headers.get("x-request-id") for seen in fake.seen] == ["req-1.a_B", None]


@pytest.mark.parametrize("request_id", ["a\r\nX-Evil: 1", "", "é", 5, "x" * 129])
def test_it_leaves_out_a_request_id_that_is_no_header(fake: FakeServer, wpp: WppClient, request_id: Any) -> None:
    fake.answers(200, {"status": "CLOSED"})
    with structlog.contextvars.bound_contextvars(request_id=request_id):
        wpp.status_session(fake.url, SESSION)
    assert "x-request-id" not in fake.last.headers
    assert "x-evil" not in fake.last.headers


@pytest.mark.parametrize(
    "body",
    ['{"uptime": null}', '{"uptime": true}', '{"uptime": -1}', '{"uptime": 1e300}', '{"uptime": "5"}', "[]", "OK"],
)
def test_it_believes_no_senseless_uptime(fake: FakeServer, wpp: WppClient, body: str) -> None:
    fake.answers(200, body)
    with pytest.raises(errors.WppUnreachable):
        wpp.uptime(fake.url)
    assert (fake.last.method, fake.last.path) == ("GET", "/healthz")


def test_it_never_gets_unhealthy(fake: FakeServer, wpp: WppClient) -> None:
    fake.answers(404, "<pre>Cannot POST /unhealthy</pre>", "text/html")
    assert wpp.lets_unhealthy_through(fake.url)
    assert [(one.method, one.path) for one in fake.seen] == [("POST", "/unhealthy")]
    assert "authorization" not in fake.last.headers, "who asks proves nothing"


@pytest.mark.parametrize(
    "opening",
    ["", "0", "0{", '0{"sid":7}', '0{"sid":"../../x?y"}', '4{"sid":"abc"}', "<html>index</html>", '0["sid"]'],
)
def test_it_takes_nothing_else_for_an_open_socket(fake: FakeServer, wpp: WppClient, opening: str) -> None:
    fake.answers(200, opening, "text/plain")
    assert not wpp.socket_is_open(fake.url)
    assert len(fake.seen) == 1
