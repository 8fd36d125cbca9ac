"""Every fault that can be switched on."""

import time
from functools import partial
from typing import Any

import httpx
import pytest

from sandbox.faults import CATALOGUE
from tests.support.contract_sandbox import SECRET, WEBHOOK_PASSWORD, Sandbox, eventually, sandbox_with

TEXT = {"phone": "5511999999999", "message": "oi"}


def _inbound(sandbox: Sandbox, text: str = "Olá!", **more: Any) -> dict[str, Any]:
    answer: dict[str, Any] = sandbox.control("sessions/user_a/inbound", phone="5511988887777", text=text, **more).json()
    return answer


def _posts(sandbox: Sandbox, event: str) -> list[dict[str, Any]]:
    return [post for post in sandbox.state()["posts"] if post["event"] == event]


def is_up(sandbox: Sandbox, client: httpx.Client) -> bool:
    return sandbox.status(client) == "CONNECTED"


def test_it_explains_every_fault_in_a_sentence(sandbox: Sandbox) -> None:
    faults = sandbox.state()["faults"]
    assert [fault["name"] for fault in faults] == [fault.name for fault in CATALOGUE]
    assert all(fault["sentence"].endswith(".") and len(fault["sentence"]) > 20 for fault in faults)


def test_it_switches_one_session_only(sandbox: Sandbox) -> None:
    sick, well = sandbox.pair("user_a"), sandbox.pair("user_b")
    sandbox.fault("error_but_delivered", session="user_a")
    assert sick.post("send-message", json=TEXT).status_code == 500
    assert well.post("send-message", json=TEXT).status_code == 201
    sandbox.fault("error_but_delivered", on=False, session="user_a")
    assert sick.post("send-message", json=TEXT).status_code == 201


def test_it_turns_itself_off_after_so_many_times(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("error_but_delivered", times=2)
    assert [client.post("send-message", json=TEXT).status_code for _ in range(3)] == [500, 500, 201]


def test_it_turns_everything_off_at_once(sandbox: Sandbox) -> None:
    sandbox.fault("silent")
    sandbox.fault("zombie", session="user_a")
    assert sandbox.control("faults").json() == {"active": []}


def test_zombie_says_connected_and_sends_only_once_it_revives() -> None:
    with sandbox_with(hang=5.0) as sandbox:
        client = sandbox.pair()
        sandbox.fault("zombie")
        assert sandbox.status(client) == "CONNECTED"
        with pytest.raises(httpx.HTTPError):
            client.post("send-message", json=TEXT)
        _inbound(sandbox, "ninguém viu")
        assert sandbox.sent() == []
        sandbox.fault("zombie", on=False)
        eventually(lambda: [row["ack"] for row in sandbox.sent()] == [3], "the hung send")
        sandbox.receiver.wait("onack", ack=3)
        _inbound(sandbox, "agora sim")
        sandbox.receiver.wait("onmessage", body="agora sim")
        assert sandbox.receiver.bodies("onmessage", body="ninguém viu") == []
        history = client.get("get-messages/5511988887777@c.us").json()["response"]
        assert [message["body"] for message in history if not message.get("isNotification")] == [
            "ninguém viu",
            "agora sim",
        ]


def test_what_hangs_in_a_zombie_ends_with_its_browser() -> None:
    with sandbox_with(hang=5.0) as sandbox:
        client = sandbox.pair()
        sandbox.control("sessions/user_a/whatsapp-away", away=True)
        with pytest.raises(httpx.HTTPError):
            client.post("send-message", json=TEXT)
        client.post("close-session")
        sandbox.control("sessions/user_a/whatsapp-away", away=False)
        client.post("start-session", json={"webhook": sandbox.receiver.url})
        eventually(lambda: sandbox.status(client) == "CONNECTED", "the new start")
        client.post("send-message", json={**TEXT, "message": "depois"}).raise_for_status()
        assert [row["body"] for row in sandbox.sent()] == ["depois"]


def test_zombie_without_its_page_is_disconnected_when_asked(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("zombie", page_gone=True)
    assert sandbox.status(client) == "CONNECTED"
    assert client.get("check-connection-session").json()["status"] is False
    assert client.post("send-message", json=TEXT).status_code == 404


def test_silent_sends_but_calls_no_webhook(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("silent")
    client.post("send-message", json=TEXT)
    eventually(lambda: [row["ack"] for row in sandbox.sent()] == [3], "delivery without a word")
    assert sandbox.receiver.bodies("onack") == []


def test_stuck_initializing_shows_no_qr_until_closed(sandbox: Sandbox) -> None:
    with sandbox_with(auto_close=60.0) as box:
        box.fault("stuck_initializing", times=1)
        client = box.client()
        client.post("start-session", json={"webhook": box.receiver.url})
        eventually(lambda: box.status(client) == "INITIALIZING", "the start")
        assert client.post("start-session", json={"webhook": box.receiver.url}).json()["status"] == "INITIALIZING"
        eventually(lambda: not box.state()["sessions"][0]["browser"], "the end of its Chrome")
        assert client.post("close-session").status_code == 500
        assert box.status(client) == "CLOSED"
        assert box.receiver.bodies("qrcode") == []
        assert box.status(box.start()) == "QRCODE"


def test_a_locked_profile_keeps_a_start_initializing(sandbox: Sandbox) -> None:
    sandbox.fault("profile_locked", times=1)
    client = sandbox.client()
    client.post("start-session", json={"webhook": sandbox.receiver.url})
    assert sandbox.status(client) == "INITIALIZING"
    assert not sandbox.state()["sessions"][0]["browser"]
    client.post("close-session")
    assert sandbox.status(sandbox.start()) == "QRCODE"


def test_chrome_dies_and_page_crashes_happen_once(sandbox: Sandbox) -> None:
    for name in ("chrome_dies", "page_crashes"):
        client = sandbox.pair() if name == "chrome_dies" else sandbox.client()
        sandbox.fault(name)
        assert sandbox.status(client) == "CONNECTED"
        assert client.post("send-message", json=TEXT).status_code == 404
        client.post("close-session")
        client.post("start-session", json={"webhook": sandbox.receiver.url})
        sandbox.come_up(client)
        assert client.post("send-message", json=TEXT).status_code == 201


def test_a_qr_still_comes_late_after_a_logout(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.receiver.deliveries.clear()
    sandbox.fault("late_after_logout", delay=20.0, times=1)
    client.post("logout-session")
    sandbox.receiver.wait("status-find", status="browserClose")
    events = [body.get("status", body["event"]) for body in sandbox.receiver.bodies()]
    assert events == ["logoutsession", "notLogged", "qrcode", "disconnectedMobile", "browserClose"]


def test_qr_loop_never_ends_and_never_connects(sandbox: Sandbox) -> None:
    with sandbox_with(auto_close=10.0) as box:
        box.fault("qr_loop", interval=2.0)
        client = box.start()
        codes = {event["urlcode"] for event in box.receiver.wait("qrcode", count=8)}
        assert len(codes) == 8
        box.control("sessions/user_a/scan")
        box.receiver.wait("status-find", status="qrReadFail")
        assert box.status(client) == "QRCODE"


def test_stale_qr_repeats_an_old_one_even_after_the_connection() -> None:
    with sandbox_with(clock_scale=0.005) as sandbox:
        sandbox.fault("stale_qr")
        client = sandbox.start()
        events = sandbox.receiver.wait("qrcode", count=3)
        assert len({event["urlcode"] for event in events}) == 1
        assert client.get("status-session").json()["urlcode"] != events[0]["urlcode"]
        sandbox.control("sessions/user_a/scan")
        sandbox.come_up(client)
        eventually(lambda: sandbox.receiver.bodies()[-1]["event"] == "qrcode", "the QR after the connection")


def test_code_changes_while_it_is_typed(sandbox: Sandbox) -> None:
    sandbox.fault("code_changes", interval=2.0)
    sandbox.start(phone="5511955554444")
    assert len({event["phoneCode"] for event in sandbox.receiver.wait("phoneCode", count=3)}) == 3


@pytest.mark.parametrize("call", ["close-session", "logout-session"])
def test_close_half_works(sandbox: Sandbox, call: str) -> None:
    client = sandbox.pair()
    sandbox.fault("close_half_works", times=1)
    assert client.post(call).status_code == 200
    assert sandbox.status(client) == "CONNECTED"
    assert client.post(call).status_code == 200
    assert sandbox.status(client) == "CLOSED"


def test_restart_all_brings_every_session_down_at_once(sandbox: Sandbox) -> None:
    clients = [sandbox.pair(name) for name in ("user_a", "user_b")]
    with sandbox_with(clock_scale=1.0) as slow:
        client = slow.pair()
        slow.fault("restart_all")
        assert slow.status(client) == "INITIALIZING"
        assert client.post("send-message", json=TEXT).status_code == 404
    sandbox.fault("restart_all")
    for client in clients:
        eventually(partial(is_up, sandbox, client), "the return")
    assert not [fault for fault in sandbox.state()["faults"] if fault["on"]]


def test_banned_for_a_burst(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("banned", limit=3, window=3000)
    statuses = [client.post("send-message", json=TEXT).status_code for _ in range(5)]
    assert statuses == [201, 201, 201, 201, 404]
    sandbox.receiver.wait("status-find", status="disconnectedMobile")


def test_no_session_in_event(sandbox: Sandbox) -> None:
    sandbox.pair()
    sandbox.fault("no_session_in_event")
    _inbound(sandbox)
    [event] = sandbox.receiver.wait("onmessage")
    assert "session" not in event


def test_webhook_lost(sandbox: Sandbox) -> None:
    sandbox.pair()
    sandbox.fault("webhook_lost", event="onmessage", times=1)
    _inbound(sandbox, "perdida")
    _inbound(sandbox, "chegou")
    sandbox.receiver.wait("onmessage", body="chegou")
    assert sandbox.receiver.bodies("onmessage", body="perdida") == []


def test_webhook_duplicate(sandbox: Sandbox) -> None:
    sandbox.pair()
    sandbox.fault("webhook_duplicate")
    _inbound(sandbox)
    first, second = sandbox.receiver.wait("onmessage", count=2)
    assert first == second


def test_webhook_late(sandbox: Sandbox) -> None:
    sandbox.pair()
    sandbox.fault("webhook_late", delay=15.0)
    begun = time.monotonic()
    _inbound(sandbox)
    sandbox.receiver.wait("onmessage")
    assert time.monotonic() - begun >= 15.0 * 0.02


def test_webhook_disorder(sandbox: Sandbox) -> None:
    sandbox.pair()
    sandbox.fault("webhook_disorder", delay=20.0)
    texts = [str(number) for number in range(20)]
    for text in texts:
        _inbound(sandbox, text)
    arrived = [event["body"] for event in sandbox.receiver.wait("onmessage", count=20)]
    # One in 20! that chance keeps the order.
    assert arrived != texts
    assert sorted(arrived) == sorted(texts)


def test_reused_message_id(sandbox: Sandbox) -> None:
    sandbox.pair()
    first = _inbound(sandbox, "um")
    sandbox.fault("reused_message_id", times=1)
    assert _inbound(sandbox, "dois")["id"] == first["id"]
    assert _inbound(sandbox, "três")["id"] != first["id"]
    assert {event["body"] for event in sandbox.receiver.wait("onmessage", count=3)} == {"um", "dois", "três"}


def test_accepted_but_never_sent(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("accepted_but_never_sent", times=1)
    [never] = client.post("send-message", json=TEXT).json()["response"]
    [sent] = client.post("send-message", json=TEXT).json()["response"]
    sandbox.receiver.wait("onack", ack=3)
    assert [row["id"] for row in sandbox.sent()] == [sent["id"]]
    assert never["id"] not in {event["id"]["_serialized"] for event in sandbox.receiver.bodies("onack")}
    history = client.get("get-messages/5511999999999@c.us").json()["response"]
    assert [message["ack"] for message in history if not message["isNotification"]] == [0, 3]


def test_error_but_delivered(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("error_but_delivered")
    response = client.post("send-message", json=TEXT)
    assert response.status_code == 500
    assert response.json()["message"] == "Erro ao enviar a mensagem."
    [row] = sandbox.sent()
    sandbox.receiver.wait("onack", ack=3)
    assert sandbox.receiver.bodies("onack")[0]["id"]["_serialized"] == row["id"]


def test_error_that_really_did_not_send(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("error_but_delivered", delivered=False)
    assert client.post("send-message", json=TEXT).status_code == 500
    assert sandbox.sent() == []
    assert client.get("get-messages/5511999999999@c.us").status_code == 401


def test_not_found_but_delivered(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("not_found_but_delivered", times=1)
    assert client.post("send-message", json=TEXT).status_code == 400
    assert len(sandbox.sent()) == 1


def test_ack_before_reply(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("ack_before_reply")
    sandbox.fault("webhook_late", delay=15.0)
    begun = time.monotonic()
    client.post("send-message", json=TEXT)
    assert time.monotonic() - begun >= 15.0 * 0.02
    assert [event["ack"] for event in sandbox.receiver.bodies("onack")][:1] == [1]
    assert [event["ack"] for event in sandbox.receiver.wait("onack", count=3)] == [1, 2, 3]


def test_ack_after_reply(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("ack_after_reply")
    assert client.post("send-message", json=TEXT).json()["response"][0]["ack"] == 0
    assert [event["ack"] for event in sandbox.receiver.wait("onack", count=3)] == [1, 2, 3]


def test_acks_come_twice_and_a_lower_one_after_a_higher(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("ack_backwards")
    sandbox.fault("ack_twice", times=1)
    client.post("send-message", json=TEXT)
    acks = [event["ack"] for event in sandbox.receiver.wait("onack", count=5)]
    assert (sorted(acks), acks[-1]) == ([1, 1, 1, 2, 3], 1)
    assert [row["ack"] for row in sandbox.sent()] == [3]


def test_acks_without_files(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("acks_without_files")
    client.post("send-image", json={"phone": "5511999999999", "base64": "data:image/png;base64,aGk="})
    assert [event["body"] for event in sandbox.receiver.wait("onack", count=3)] == ["", "", ""]


def test_ciphertext_first(sandbox: Sandbox) -> None:
    sandbox.pair()
    sandbox.fault("ciphertext_first", times=1)
    written = _inbound(sandbox)
    first, second = sandbox.receiver.wait("onmessage", count=2)
    assert first["id"] == second["id"] == written["id"]
    assert (first["type"], first["body"], second["type"], second["body"]) == ("ciphertext", "", "chat", "Olá!")


def test_lid_without_phone_can_be_written_to(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("lid_without_phone", times=1)
    lid = _inbound(sandbox)["from"]
    assert list(client.get(f"contact/pn-lid/{lid}").json()) == ["lid"]
    [event] = sandbox.receiver.wait("onmessage")
    assert "phoneNumber" not in event["sender"]
    assert client.post("send-message", json={"phone": lid, "isLid": True, "message": "oi"}).status_code == 201
    assert [row["to"] for row in sandbox.sent()] == [lid]


def test_chat_under_lid(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("chat_under_lid")
    [sent] = client.post("send-message", json=TEXT).json()["response"]
    assert sent["id"].startswith("true_5511999999999@c.us_")
    assert client.get("get-messages/5511999999999").status_code == 401
    lid = client.get("contact/pn-lid/5511999999999@c.us").json()["lid"]["_serialized"]
    notice, read = client.get(f"get-messages/{lid}").json()["response"]
    assert notice["isNotification"] is True
    assert read["id"] == sent["id"].replace("5511999999999@c.us", lid)
    assert (read["to"], read["chatId"]["_serialized"], read["body"]) == (lid, lid, "oi")


def test_wrong_address(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    written = _inbound(sandbox)
    sandbox.fault("wrong_address")
    refused = client.get("get-messages/5511988887777")
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "chat_not_found")
    lid = client.get("contact/pn-lid/5511988887777").json()["lid"]["_serialized"]
    read = client.get(f"get-messages/{lid}").json()["response"][-1]
    assert (read["id"], read["from"]) == (written["id"].replace("5511988887777@c.us", lid), lid)


@pytest.mark.parametrize("delivered", [True, False])
def test_send_timeout(sandbox: Sandbox, delivered: bool) -> None:
    client = sandbox.pair()
    sandbox.fault("send_timeout", delivered=delivered)
    with pytest.raises(httpx.ReadTimeout):
        client.post("send-message", json=TEXT, timeout=0.3)
    assert len(sandbox.sent()) == int(delivered)


def test_it_hangs_no_longer_than_its_bound() -> None:
    with sandbox_with(hang=10.0) as sandbox:
        client = sandbox.pair()
        sandbox.fault("send_timeout")
        begun = time.monotonic()
        with pytest.raises(httpx.RemoteProtocolError):
            client.post("send-message", json=TEXT)
        assert 10.0 * 0.02 <= time.monotonic() - begun < 4.0


def test_lid_instead_of_phone(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    [sent] = client.post("send-message", json={**TEXT, "phone": "5511988887777"}).json()["response"]
    sandbox.receiver.wait("onack", ack=3)
    sandbox.fault("lid_instead_of_phone")
    _inbound(sandbox)
    [event] = sandbox.receiver.wait("onmessage")
    assert event["from"].endswith("@lid")
    entry = client.get(f"contact/pn-lid/{event['from']}").json()
    assert entry["phoneNumber"]["_serialized"] == "5511988887777@c.us"
    [again] = client.post("send-message", json={**TEXT, "phone": "5511988887777"}).json()["response"]
    ack = eventually(lambda: [a for a in sandbox.receiver.bodies("onack") if a["to"]["server"] == "lid"], "a lid ack")[
        0
    ]
    assert ack["id"]["_serialized"] == again["id"].replace("5511988887777@c.us", event["from"])
    assert sent["id"] != again["id"]


def test_ninth_digit(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("ninth_digit")
    checked = client.get("check-number-status/5511999999999").json()["response"]
    assert checked["id"]["_serialized"] == "551199999999@c.us"
    [message] = client.post("send-message", json=TEXT).json()["response"]
    assert message["to"] == "551199999999@c.us"
    assert client.get("check-number-status/551133334444").json()["response"]["id"]["_serialized"] == "551133334444@c.us"


def test_huge_media(sandbox: Sandbox) -> None:
    sandbox.pair()
    sandbox.fault("huge_media", megabytes=3, times=1)
    _inbound(sandbox)
    [event] = sandbox.receiver.wait("onmessage")
    assert len(event["body"]) == 3 * 1024 * 1024
    assert event["mimetype"] == "image/jpeg"


def test_secrets_in_error(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("secrets_in_error")
    response = client.post("send-message", json=TEXT)
    assert response.status_code == 500
    assert WEBHOOK_PASSWORD in response.text
    assert client.headers["Authorization"] in response.text
    assert sandbox.sent() == []


@pytest.mark.parametrize("cleared", [True, False])
def test_clear_hangs(sandbox: Sandbox, cleared: bool) -> None:
    sandbox.pair("user_a").post("close-session")
    sandbox.fault("clear_hangs", cleared=cleared)
    anonymous = sandbox.anonymous()
    with pytest.raises(httpx.ReadTimeout):
        anonymous.post(f"/api/user_a/{SECRET}/clear-session-data", timeout=0.3)
    assert sandbox.state()["sessions"][0]["phone"] == (None if cleared else "5511911112222")


def test_server_hangs(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("server_hangs")
    with pytest.raises(httpx.ReadTimeout):
        client.get("status-session", timeout=0.3)
    sandbox.fault("server_hangs", on=False)
    assert sandbox.status(client) == "CONNECTED"


def test_server_down(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("server_down")
    for _ in range(2):
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            client.post("send-message", json=TEXT)
    sandbox.fault("server_down", status=503)
    assert client.get("status-session").status_code == 503
    sandbox.fault("server_down", on=False)
    assert sandbox.status(client) == "CONNECTED"
    assert sandbox.sent() == []
