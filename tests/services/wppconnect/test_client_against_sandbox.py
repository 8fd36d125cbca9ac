"""The client and the stand-in server must agree on the protocol, faults included."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from sandbox.server import SandboxServer, running_sandbox
from sandbox.state import Config
from services.wppconnect import errors
from services.wppconnect.client import Identity, NumberCheck, WppClient
from services.wppconnect.event_keys import get_message_key
from services.wppconnect.http_caller import Timeouts
from services.wppconnect.phone import is_same_subscriber
from services.wppconnect.session_tokens import create_session_token

SECRET = "THISISMYSECURETOKEN-and-it-is-longer-than-31-bytes"
OWN, ANA, BIA = "5511988887777", "5511999999999", "5511966665555"
WEBHOOK = "http://wpp:secret@127.0.0.1:9/nowhere"


@pytest.fixture(scope="module")
def server() -> Iterator[SandboxServer]:
    with running_sandbox(Config(secret=SECRET, clock_scale=0.05, hang=60.0)) as sandbox:
        yield sandbox


@pytest.fixture
def wpp(server: SandboxServer) -> Iterator[WppClient]:
    times = Timeouts(connect=1.0, status=5.0, query=5.0, start=5.0, send=1.0, logout=5.0)
    with WppClient({server.url: SECRET}, times) as client:
        yield client
    control(server, "faults")


@pytest.fixture
def session() -> str:
    """A session that the server has never seen: a second start answers differently from a first."""
    return f"user_{uuid4()}"


def control(server: SandboxServer, path: str, **body: Any) -> Any:
    return httpx.post(f"{server.url}/_sandbox/{path}", json=body).raise_for_status().json()


def really_sent(server: SandboxServer, session: str) -> list[dict[str, Any]]:
    return list(httpx.get(f"{server.url}/_sandbox/sent", params={"session": session}).raise_for_status().json())


def eventually(check: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def pair(server: SandboxServer, wpp: WppClient, session: str) -> None:
    wpp.start_session(server.url, session, WEBHOOK)
    eventually(lambda: wpp.status_session(server.url, session).status == "QRCODE")
    control(server, f"sessions/{session}/scan", phone=OWN)
    eventually(lambda: wpp.status_session(server.url, session).status == "CONNECTED")


def test_it_asks_a_server_what_it_leaves_open(server: SandboxServer, wpp: WppClient) -> None:
    url = server.url
    assert wpp.uptime(url) > 0
    assert wpp.lets_unhealthy_through(url)
    assert wpp.socket_is_open(url)
    assert wpp.accepts_secret(url, "nobody", SECRET)
    assert not wpp.accepts_secret(url, "nobody", "another")
    control(server, "faults/paths_blocked", on=True)
    assert not wpp.lets_unhealthy_through(url)
    assert not wpp.socket_is_open(url)
    control(server, "faults/paths_blocked", on=False)
    control(server, "faults/socket_refuses", on=True)
    assert not wpp.socket_is_open(url)
    assert server.running


def test_it_pairs_and_logs_out(server: SandboxServer, wpp: WppClient, session: str) -> None:
    url = server.url
    assert wpp.status_session(url, session).status == "CLOSED"
    assert wpp.start_session(url, session, WEBHOOK).status == "CLOSED"
    eventually(lambda: wpp.status_session(url, session).status == "QRCODE")
    waiting = wpp.status_session(url, session)
    assert waiting.urlcode is not None
    assert waiting.qrcode is not None
    control(server, f"sessions/{session}/scan", phone=OWN)
    eventually(lambda: wpp.status_session(url, session).status == "CONNECTED")
    assert wpp.status_session(url, session).urlcode is None
    assert wpp.check_connection(url, session)
    assert wpp.phone_number(url, session) == OWN
    assert wpp.host_device(url, session).phone == OWN
    assert session in wpp.show_all_sessions(url)
    assert wpp.logout_session(url, session) is True
    assert wpp.logout_session(url, session) is False
    assert wpp.status_session(url, session).status == "CLOSED"


def test_it_waits_for_the_first_qr_and_the_first_code(server: SandboxServer, wpp: WppClient, session: str) -> None:
    state = wpp.start_session(server.url, session, WEBHOOK, wait_qr=True)
    assert state.status == "QRCODE"
    assert state.urlcode is not None
    state = wpp.start_session(server.url, f"user_{uuid4()}", WEBHOOK, phone=OWN, wait_qr=True)
    assert state.status == "PHONECODE"
    assert state.phone_code is not None


def test_it_closes_what_was_never_paired(server: SandboxServer, wpp: WppClient, session: str) -> None:
    assert wpp.close_session(server.url, session) is False
    wpp.start_session(server.url, session, WEBHOOK)
    assert wpp.close_session(server.url, session) is False
    assert wpp.status_session(server.url, session).status == "CLOSED"


def test_it_sends_to_the_address_that_whatsapp_uses(server: SandboxServer, wpp: WppClient, session: str) -> None:
    pair(server, wpp, session)
    control(server, f"numbers/{ANA}", ninth_digit=False)
    check = wpp.check_number(server.url, session, ANA)
    assert check == NumberCheck(True, "551199999999@c.us")
    assert check.address is not None
    assert is_same_subscriber(check.address, ANA)
    sent = wpp.send_text(server.url, session, check.address, "Olá!")
    assert sent.to == check.address
    row = really_sent(server, session)[-1]
    assert (row["id"], row["body"], row["to"]) == (sent.id, "Olá!", check.address)
    found = wpp.get_messages(server.url, session, check.address)
    assert [(message.id, message.body, message.from_me) for message in found] == [(sent.id, "Olá!", True)]
    assert [chat.id for chat in wpp.list_chats(server.url, session)] == [check.address]


def test_it_finds_and_uses_a_lid(server: SandboxServer, wpp: WppClient, session: str) -> None:
    pair(server, wpp, session)
    lid = wpp.identify(server.url, session, ANA).lid
    assert lid is not None
    assert wpp.identify(server.url, session, lid) == Identity(ANA, lid)
    sent = wpp.send_text(server.url, session, lid, "oi")
    assert sent.to == lid
    assert wpp.get_messages(server.url, session, lid)[-1].id == sent.id


def test_it_never_takes_a_short_lid_for_a_phone(server: SandboxServer, wpp: WppClient, session: str) -> None:
    pair(server, wpp, session)
    short = "12345678901234@lid"
    with pytest.raises(errors.WppRefused):
        wpp.send_text(server.url, session, short, "oi")
    with pytest.raises(errors.WppRefused):
        wpp.send_contact(server.url, session, short, ANA, "Ana")
    assert really_sent(server, session) == [], "the server would send the card to 12345678901234@c.us"
    server.world.phone_of_lid["12345678901234"] = BIA
    wpp.send_contact(server.url, session, short, OWN, "Eu")
    assert wpp.send_text(server.url, session, short, "oi").to == short
    assert [row["to"] for row in really_sent(server, session)] == [f"{BIA}@c.us", short]


def test_it_sends_nothing_without_a_connection(server: SandboxServer, wpp: WppClient, session: str) -> None:
    before = len(really_sent(server, session))
    for call in (lambda: wpp.send_text(server.url, session, ANA, "oi"), lambda: wpp.phone_number(server.url, session)):
        with pytest.raises(errors.WppDisconnected):
            call()
    assert len(really_sent(server, session)) == before


def test_it_tells_a_missing_chat_from_a_failure(server: SandboxServer, wpp: WppClient, session: str) -> None:
    pair(server, wpp, session)
    with pytest.raises(errors.WppChatNotFound):
        wpp.get_messages(server.url, session, "5511977776666")
    with pytest.raises(errors.WppChatNotFound):
        wpp.get_messages(server.url, session, "120363000000000001@g.us")


@pytest.mark.parametrize("fault", ["chat_under_lid", "wrong_address"])
def test_it_finds_a_chat_under_the_other_name_of_the_person(
    server: SandboxServer, wpp: WppClient, session: str, fault: str
) -> None:
    pair(server, wpp, session)
    if fault == "chat_under_lid":
        control(server, f"faults/{fault}", on=True, session=session)
    sent = wpp.send_text(server.url, session, BIA, "oi")
    control(server, f"faults/{fault}", on=True, session=session)
    lid = wpp.identify(server.url, session, BIA).lid
    (found,) = wpp.get_messages(server.url, session, BIA)
    assert (found.body, found.chat_id, get_message_key(found.id)) == ("oi", lid, get_message_key(sent.id))
    page = wpp.read_chat(server.url, session, f"{BIA}@c.us", 5)
    assert page.chat == lid
    assert len(page.entries) == 1


def test_it_knows_what_was_certainly_not_sent(server: SandboxServer, wpp: WppClient, session: str) -> None:
    pair(server, wpp, session)
    with pytest.raises(errors.WppRefused):
        wpp.send_text(server.url, session, ANA, "oi", quoted_id=f"false_{ANA}@c.us_3EB0AB")
    with pytest.raises(errors.WppRefused):
        wpp.send_image(server.url, session, ANA, "/tmp/a.png", "a.png")
    assert really_sent(server, session) == []


@pytest.mark.parametrize(
    ("fault", "options", "expected", "delivered"),
    [
        ("send_timeout", {}, errors.WppOutcomeUnknown, 1),
        ("error_but_delivered", {}, errors.WppOutcomeUnknown, 1),
        ("error_but_delivered", {"delivered": False}, errors.WppOutcomeUnknown, 0),
        ("secrets_in_error", {}, errors.WppOutcomeUnknown, 0),
        ("not_found_but_delivered", {}, errors.WppOutcomeUnknown, 1),
        ("refuses_strangers", {"error": True}, errors.WppRestricted, 0),
        ("server_down", {}, errors.WppOutcomeUnknown, 0),
        ("server_down", {"status": 503}, errors.WppOutcomeUnknown, 0),
        ("server_hangs", {}, errors.WppOutcomeUnknown, 0),
    ],
)
def test_it_never_says_that_a_doubtful_send_may_be_repeated(
    server: SandboxServer,
    wpp: WppClient,
    session: str,
    fault: str,
    options: dict[str, Any],
    expected: type[Exception],
    delivered: int,
) -> None:
    pair(server, wpp, session)
    before = len(really_sent(server, session))
    control(server, f"faults/{fault}", on=True, session=session, times=1, **options)
    with pytest.raises(errors.WppError) as caught:
        wpp.send_text(server.url, session, ANA, "oi")
    assert type(caught.value) is expected
    assert not caught.value.safe_to_retry
    assert len(really_sent(server, session)) - before == delivered


def test_it_proves_a_zombie_dead(server: SandboxServer, wpp: WppClient, session: str) -> None:
    pair(server, wpp, session)
    control(server, f"sessions/{session}/kill")
    assert wpp.status_session(server.url, session).status == "CONNECTED"
    assert wpp.check_connection(server.url, session)
    assert wpp.phone_number(server.url, session) == OWN
    with pytest.raises(errors.WppUnreachable):
        wpp.check_number(server.url, session, "5511922223333")
    control(server, f"sessions/{session}/kill", page_gone=True)
    assert not wpp.check_connection(server.url, session)
    with pytest.raises(errors.WppDisconnected):
        wpp.phone_number(server.url, session)


def test_it_is_told_when_the_secret_is_wrong(server: SandboxServer, session: str) -> None:
    with WppClient({server.url: "another secret"}) as wpp:
        for call in (
            lambda: wpp.status_session(server.url, session),
            lambda: wpp.clear_session_data(server.url, session),
            lambda: wpp.show_all_sessions(server.url),
        ):
            with pytest.raises(errors.WppUnauthorized):
                call()


def test_it_makes_tokens_equal_to_the_servers_own(server: SandboxServer, wpp: WppClient, session: str) -> None:
    made = httpx.post(f"{server.url}/api/{session}/{SECRET}/generate-token").json()["token"]
    for token in (made, create_session_token(session, SECRET)):
        headers = {"Authorization": f"Bearer {token}"}
        assert httpx.get(f"{server.url}/api/{session}/status-session", headers=headers).status_code == 200
        assert httpx.get(f"{server.url}/api/user_b/status-session", headers=headers).status_code == 401


def test_it_survives_an_outage(server: SandboxServer, wpp: WppClient, session: str) -> None:
    assert wpp.status_session(server.url, session).status == "CLOSED"
    server.stop()
    with pytest.raises(errors.WppUnreachable):
        wpp.send_text(server.url, session, ANA, "oi")
    server.start()
    assert wpp.status_session(server.url, session).status == "CLOSED"
