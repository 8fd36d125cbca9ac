"""Section "Sessions"."""

import base64
import io
import re
import time
from collections.abc import Callable

import httpx
import pytest
from PIL import Image

from tests.support.contract_sandbox import SECRET, Sandbox, eventually, sandbox_with

DISCONNECTED = {"response": None, "status": "Disconnected", "message": "A sessão do WhatsApp não está ativa."}
CLOSED = {"status": True, "message": "Session successfully closed"}
NOT_CLOSED = {"status": False, "message": "Error closing session", "error": {"level": "error"}}


def _picture(encoded: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(encoded, validate=True)))


def test_it_answers_the_state_before_the_start(sandbox: Sandbox) -> None:
    client = sandbox.client()
    assert client.get("status-session").json() == {"status": "CLOSED", "qrcode": None}
    first = client.post("start-session", json={"webhook": "", "waitQrCode": False})
    assert first.status_code == 200
    assert first.json() == {"status": "CLOSED", "qrcode": None, "session": ""}
    later = eventually(lambda: (r := client.post("start-session", json={})).json()["status"] == "QRCODE" and r.json())
    assert later["qrcode"].startswith("data:image/png;base64,")
    assert later["urlcode"].startswith("2@")
    assert 180 <= len(later["urlcode"]) <= 300
    assert later["version"] == "2.10.4"
    assert _picture(later["qrcode"].partition(",")[2]).format == "PNG"


def test_it_says_initializing_until_the_first_qr() -> None:
    with sandbox_with(clock_scale=1.0, first_qr_delay=60.0) as sandbox:
        client = sandbox.client()
        client.post("start-session", json={"webhook": ""})
        assert client.get("status-session").json() == {"status": "INITIALIZING", "qrcode": None, "version": "2.10.4"}


def test_it_hangs_until_the_first_qr_when_asked_to_wait() -> None:
    with sandbox_with(clock_scale=1.0, first_qr_delay=0.2) as sandbox:
        begun = time.monotonic()
        response = sandbox.client().post("start-session", json={"webhook": "", "waitQrCode": True})
        assert time.monotonic() - begun >= 0.2
        data = response.json()
        assert response.status_code == 200
        assert list(data) == ["status", "qrcode", "urlcode", "session"]
        assert data["status"] == "qrcode"
        assert data["session"] == "user_a"
        assert _picture(data["qrcode"]).format == "PNG"


def test_it_pairs_by_code(sandbox: Sandbox) -> None:
    client = sandbox.client()
    body = {"webhook": sandbox.receiver.url, "waitQrCode": True, "phone": "5511955554444"}
    data = client.post("start-session", json=body).json()
    assert list(data) == ["status", "phone", "phoneCode", "session"]
    assert data["status"] == "phoneCode"
    assert re.fullmatch(r"[A-Z0-9]{4}-[A-Z0-9]{4}", data["phoneCode"])
    assert sandbox.status(client) == "PHONECODE"
    [event] = sandbox.receiver.wait("phoneCode")
    assert event["phoneCode"] == data["phoneCode"].replace("-", "")
    assert event["phone"] == "5511955554444"
    sandbox.scan(client)
    assert client.get("get-phone-number").json()["response"] == "5511955554444@c.us"


def test_it_may_still_carry_the_old_qr_when_connected(sandbox: Sandbox) -> None:
    data = sandbox.pair().get("status-session").json()
    assert data["status"] == "CONNECTED"
    assert data["qrcode"].startswith("data:image/png")
    assert data["urlcode"].startswith("2@")


def test_it_draws_the_qr_as_a_png_of_500_pixels(sandbox: Sandbox) -> None:
    client = sandbox.start()
    response = client.get("qrcode-session")
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(response.content)).size == (500, 500)


def test_it_answers_json_where_there_is_no_qr(sandbox: Sandbox) -> None:
    client = sandbox.client()
    response = client.get("qrcode-session")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    assert response.json()["status"] is None
    sandbox.pair()
    client.post("close-session")
    assert client.get("qrcode-session").json() == {"status": None, "message": "QRCode is not available..."}


def test_it_renews_the_qr() -> None:
    with sandbox_with(clock_scale=0.005) as sandbox:
        sandbox.start()
        codes = {event["urlcode"] for event in sandbox.receiver.wait("qrcode", count=3)}
        assert len(codes) == 3


def test_it_closes_an_unscanned_start_by_itself() -> None:
    with sandbox_with(auto_close=60.0) as sandbox:
        client = sandbox.start()
        sandbox.receiver.wait("status-find", status="qrReadError")
        statuses = [event["status"] for event in sandbox.receiver.bodies("status-find")]
        assert statuses == ["notLogged", "browserClose", "qrReadError"]
        assert client.get("status-session").json() == {"status": "CLOSED", "qrcode": None}
        assert sandbox.start().get("status-session").json()["status"] == "QRCODE"


def test_it_tells_whether_the_page_is_there(sandbox: Sandbox) -> None:
    client = sandbox.client()
    assert client.get("check-connection-session").json() == {"status": False, "message": "Disconnected"}
    sandbox.start()
    assert client.get("check-connection-session").json() == {"status": False, "message": "Disconnected"}
    sandbox.scan(client)
    assert client.get("check-connection-session").json() == {"status": True, "message": "Connected"}


def test_it_closes_a_connected_session_and_keeps_its_data(sandbox: Sandbox) -> None:
    client = sandbox.pair(phone="5511911112222")
    response = client.post("close-session")
    assert response.status_code == 200
    assert response.json() == CLOSED
    assert sandbox.status(client) == "CLOSED"
    [event] = sandbox.receiver.wait("closesession")
    assert event["connected"] is False
    assert event["message"] == "Session: user_a disconnected"
    client.post("start-session", json={"webhook": sandbox.receiver.url})
    eventually(lambda: sandbox.status(client) == "CONNECTED", "the return without a QR")
    assert client.get("get-phone-number").json()["response"] == "5511911112222@c.us"


def test_it_closes_with_a_500_what_was_never_started_or_not_paired(sandbox: Sandbox) -> None:
    never = sandbox.client("user_b").post("close-session")
    assert never.status_code == 500
    assert never.json() == NOT_CLOSED
    client = sandbox.start()
    unpaired = client.post("close-session")
    assert unpaired.status_code == 500
    assert unpaired.json() == NOT_CLOSED
    assert sandbox.status(client) == "CLOSED"
    assert client.post("close-session").json() == CLOSED


def test_it_logs_out_after_half_a_second_and_deletes_the_data() -> None:
    with sandbox_with(clock_scale=1.0) as sandbox:
        client = sandbox.pair()
        begun = time.monotonic()
        response = client.post("logout-session")
        assert time.monotonic() - begun >= 0.5
        assert response.status_code == 200
        assert response.json() == CLOSED
        assert sandbox.receiver.wait("logoutsession")[0]["connected"] is False
        listed = sandbox.anonymous().get(f"/api/{SECRET}/show-all-sessions").json()
        assert listed == {"response": ["user_a"]}, "its token file is still there"
        sandbox.receiver.wait("status-find", status="browserClose")
        client.post("start-session", json={"webhook": ""})
        eventually(lambda: sandbox.status(client) == "QRCODE", "a new QR: the pairing is gone")


def test_it_meets_the_locked_profile_right_after_a_logout() -> None:
    with sandbox_with(clock_scale=1.0, logout_farewell=0.5) as sandbox:
        client = sandbox.pair()
        client.post("logout-session")
        client.post("start-session", json={"webhook": sandbox.receiver.url})
        sandbox.receiver.wait("status-find", status="browserClose")
        statuses = [event["status"] for event in sandbox.receiver.bodies("status-find")]
        assert statuses[-3:] == ["notLogged", "disconnectedMobile", "browserClose"]
        assert sandbox.status(client) == "INITIALIZING", "for ever, although the profile is free by now"
        assert client.post("close-session").status_code == 500
        client.post("start-session", json={"webhook": sandbox.receiver.url})
        eventually(lambda: sandbox.status(client) == "QRCODE", "a QR")


def test_it_leaves_a_browser_behind_when_a_pairing_is_closed() -> None:
    with sandbox_with(auto_close=100.0) as sandbox:
        client = sandbox.start()
        assert client.post("close-session").status_code == 500
        assert sandbox.status(client) == "CLOSED"
        client.post("start-session", json={"webhook": sandbox.receiver.url + "/second"})
        sandbox.receiver.wait("status-find", status="qrReadError")
        assert sandbox.status(client) == "INITIALIZING", "the profile was locked, and it does not try again"
        assert {delivery.path for delivery in sandbox.receiver.deliveries} == {"/hook"}, "the old address"
        client.post("close-session")
        client.post("start-session", json={"webhook": sandbox.receiver.url + "/third"})
        eventually(lambda: sandbox.status(client) == "QRCODE", "a QR")
        third = [delivery.body for delivery in sandbox.receiver.deliveries if delivery.path == "/hook/third"]
        assert third[0] == {"event": "status-find", "status": "notLogged"}, "a closed session forgets its name"


def test_it_announces_a_session_before_the_server_says_so() -> None:
    with sandbox_with(clock_scale=1.0, chat_delay=0.05, settle_delay=0.4) as sandbox:
        client = sandbox.start()
        sandbox.control("sessions/user_a/scan")
        sandbox.receiver.wait("status-find", status="inChat")
        assert sandbox.status(client) == "QRCODE"
        assert client.get("get-phone-number").json() == DISCONNECTED
        sandbox.come_up(client)
        client.post("close-session")
        client.post("start-session", json={"webhook": sandbox.receiver.url})
        sandbox.receiver.wait("status-find", count=2, status="inChat")
        assert sandbox.status(client) == "INITIALIZING"


def test_it_says_connected_for_ever_when_chrome_died(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.control("sessions/user_a/chrome-dies")
    sandbox.receiver.wait("status-find", status="browserClose")
    assert client.post("start-session", json={"webhook": ""}).json()["status"] == "CONNECTED"
    assert client.get("check-connection-session").json() == {"status": False, "message": "Disconnected"}
    assert client.get("get-phone-number").json() == DISCONNECTED
    assert client.post("logout-session").status_code == 404
    assert client.post("close-session").json() == CLOSED
    client.post("start-session", json={"webhook": sandbox.receiver.url})
    sandbox.come_up(client)


def test_it_does_not_log_out_what_is_not_connected(sandbox: Sandbox) -> None:
    response = sandbox.start().post("logout-session")
    assert response.status_code == 404
    assert response.json() == DISCONNECTED


def test_it_lists_every_session_with_stored_data_and_clears_it(sandbox: Sandbox) -> None:
    sandbox.pair("user_a").post("close-session")
    sandbox.start("user_b")
    anonymous = sandbox.anonymous()
    listed = anonymous.get(f"/api/{SECRET}/show-all-sessions")
    assert listed.status_code == 200
    assert listed.json() == {"response": ["user_a", "user_b"]}
    cleared = anonymous.post(f"/api/user_a/{SECRET}/clear-session-data")
    assert cleared.status_code == 200
    assert cleared.json() == {"success": True}
    assert anonymous.get(f"/api/{SECRET}/show-all-sessions").json() == {"response": ["user_a", "user_b"]}
    client = sandbox.start("user_a")
    assert sandbox.status(client) == "QRCODE"


def test_it_does_what_a_wrong_key_asks_although_it_says_no(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    client.post("close-session")
    assert sandbox.anonymous().post("/api/wrong/start-all").status_code == 400
    sandbox.come_up(client)
    client.post("close-session")
    assert sandbox.anonymous().post("/api/user_a/wrong/clear-session-data").status_code == 400
    client.post("start-session", json={"webhook": sandbox.receiver.url})
    eventually(lambda: sandbox.status(client) == "QRCODE", "a QR: the data are gone")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/wrong/show-all-sessions"),
        ("POST", "/api/wrong/start-all"),
        ("POST", "/api/x/wrong/clear-session-data"),
    ],
)
def test_it_refuses_the_secret_routes_a_wrong_key(sandbox: Sandbox, method: str, path: str) -> None:
    response = sandbox.anonymous().request(method, path)
    assert response.status_code == 400
    assert response.json()["message"] == "The token is incorrect"


def test_it_starts_all_stored_sessions_with_their_last_webhook(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    client.post("close-session")
    response = sandbox.anonymous().post(f"/api/{SECRET}/start-all")
    assert response.status_code == 201
    eventually(lambda: sandbox.status(client) == "CONNECTED", "the return")
    assert len(sandbox.receiver.wait("status-find", status="isLogged")) == 1


def test_it_brings_stored_sessions_back_when_the_server_restarts(sandbox: Sandbox) -> None:
    client = sandbox.pair(phone="5511911112222")
    sandbox.server.stop()
    with pytest.raises(httpx.ConnectError):
        client.get("status-session")
    sandbox.server.start()
    eventually(lambda: sandbox.status(client) == "CONNECTED", "the return")
    assert client.get("get-phone-number").json()["response"] == "5511911112222@c.us"


def test_it_replaces_the_stored_configuration_at_each_start(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    client.post("close-session")
    sandbox.receiver.wait("closesession")
    client.post("start-session", json={"waitQrCode": False})
    eventually(lambda: sandbox.status(client) == "CONNECTED", "the return")
    sandbox.control("sessions/user_a/inbound", phone="5511988887777", text="?")
    eventually(lambda: [post for post in sandbox.state()["posts"] if post["event"] == "onmessage"], "the event")
    assert sandbox.receiver.bodies("onmessage") == []


def test_it_describes_the_device(sandbox: Sandbox) -> None:
    client = sandbox.pair(phone="5511911112222")
    device = client.get("host-device").json()
    assert device["status"] == "success"
    assert "id" not in device["response"]
    assert device["response"]["wid"]["_serialized"] == "5511911112222@c.us"
    assert device["response"]["phoneNumber"] == "5511911112222@c.us"
    assert client.get("get-phone-number").json()["response"] == "5511911112222@c.us"
    assert client.get("get-battery-level").json()["response"] == 77
    client.post("close-session")
    for path in ("host-device", "get-phone-number", "get-battery-level"):
        response = client.get(path)
        assert response.status_code == 404
        assert response.json() == DISCONNECTED


def hangs(call: Callable[[], httpx.Response]) -> bool:
    """Whether a call that must ask WhatsApp got no answer."""
    try:
        call()
    except httpx.HTTPError:
        return True
    return False


def test_it_keeps_a_zombie_connected_and_hangs_only_in_what_asks_whatsapp() -> None:
    with sandbox_with(hang=5.0) as sandbox:
        client = sandbox.pair()
        sandbox.control("sessions/user_a/inbound", phone="5511977776666", text="oi")
        sandbox.control("sessions/user_a/whatsapp-away", away=True)
        assert sandbox.status(client) == "CONNECTED"
        assert client.get("check-connection-session").json()["status"] is True
        for path in ("get-phone-number", "host-device", "get-battery-level", "get-messages/5511977776666"):
            assert client.get(path).status_code == 200
        assert len(client.post("list-chats", json={}).json()) == 1
        assert hangs(lambda: client.get("check-number-status/5511911112222"))
        sandbox.control("sessions/user_a/whatsapp-away", away=False)
        assert client.get("check-number-status/5511911112222").status_code == 200


def test_it_answers_for_a_number_just_asked_and_for_a_contact_without_asking_whatsapp() -> None:
    with sandbox_with(hang=5.0, clock_scale=0.02, numbers_remembered=50.0) as sandbox:
        client = sandbox.pair()
        client.get("check-number-status/5511911112222").raise_for_status()
        sandbox.control("sessions/user_a/address-book", phone="5511933334444")
        sandbox.control("sessions/user_a/whatsapp-away", away=True)
        assert client.get("check-number-status/5511911112222").status_code == 200
        assert client.get("check-number-status/5511933334444").status_code == 200
        eventually(lambda: hangs(lambda: client.get("check-number-status/5511911112222")), "forgetting the answer")
        assert client.get("check-number-status/5511933334444").status_code == 200


def test_it_heals_a_crashed_page_by_a_new_start(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.control("sessions/user_a/page-crashes")
    assert sandbox.status(client) == "CONNECTED"
    assert client.get("check-connection-session").json() == {"status": False, "message": "Disconnected"}
    assert client.post("close-session").json() == CLOSED
    client.post("start-session", json={"webhook": sandbox.receiver.url})
    eventually(lambda: sandbox.status(client) == "CONNECTED", "the healing")
    assert client.get("get-phone-number").status_code == 200


def test_it_forgets_a_phone_that_removed_the_device(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.control("sessions/user_a/phone-logout")
    sandbox.receiver.wait("status-find", status="disconnectedMobile")
    assert sandbox.status(client) == "CLOSED"
    assert sandbox.status(sandbox.start()) == "QRCODE"
