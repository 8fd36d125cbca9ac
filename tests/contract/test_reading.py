"""Section "Reading"."""

import base64
from typing import Any

import httpx
import pytest

from tests.support.contract_sandbox import Sandbox, eventually

CONTACT = "5511988887777@c.us"
JPEG = base64.b64encode(b"\xff\xd8 not really").decode()


def _write(sandbox: Sandbox, text: str, **more: Any) -> str:
    body = {"phone": "5511988887777", "name": "Maria", "text": text, **more}
    message_id: str = sandbox.control("sessions/user_a/inbound", **body).json()["id"]
    return message_id


def test_it_reads_a_chat_oldest_first(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    ids = [_write(sandbox, f"n{number}") for number in range(25)]
    data = client.get(f"get-messages/{CONTACT}").json()
    assert data["status"] == "success"
    assert [message["id"] for message in data["response"]] == ids[-20:]
    few = client.get(f"get-messages/{CONTACT}", params={"count": 3, "direction": "before", "id": ids[10]}).json()
    assert [message["body"] for message in few["response"]] == ["n7", "n8", "n9"]
    after = client.get(f"get-messages/{CONTACT}", params={"count": 2, "direction": "after", "id": ids[10]}).json()
    assert [message["body"] for message in after["response"]] == ["n11", "n12"]
    assert len(client.get(f"get-messages/{CONTACT}", params={"count": -1}).json()["response"]) == 26
    assert client.get(f"get-messages/{CONTACT}", params={"id": "nothing"}).json()["response"] == []


def test_it_tells_whatsapps_own_notices_among_the_messages(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    _write(sandbox, "oi", group="120363@g.us")
    _write(sandbox, "", type="call_log")
    found = client.get("get-messages/120363@g.us").json()["response"]
    assert [(one["type"], one["isNotification"]) for one in found] == [
        ("e2e_notification", True), ("gp2", True), ("chat", False)
    ]  # fmt: skip
    assert (found[0]["to"], found[0]["subtype"]) == (None, "encrypt")
    chat = client.get(f"get-messages/{CONTACT}").json()["response"]
    assert [one["type"] for one in chat] == ["e2e_notification", "call_log"]
    assert [event["type"] for event in sandbox.receiver.bodies("onmessage")] == ["chat"]


def test_it_reads_an_edit_back_of_which_nothing_was_posted(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    message_id = _write(sandbox, "oi")
    sandbox.receiver.wait("onmessage")
    sandbox.control("sessions/user_a/edit", id=message_id, text="olá")
    message = client.get(f"get-messages/{CONTACT}").json()["response"][-1]
    assert (message["id"], message["body"]) == (message_id, "olá")
    assert isinstance(message["latestEditSenderTimestampMs"], int)
    assert len(sandbox.receiver.bodies("onmessage")) == 1
    sandbox.control("sessions/user_a/edit", id=message_id, text="olá!", post=True)
    assert sandbox.receiver.wait("onmessage", count=2)[1]["body"] == "olá!"


def test_it_marks_a_chat_as_read_when_it_is_told_to(sandbox: Sandbox) -> None:
    sandbox.receiver.status = 500
    client = sandbox.pair()
    _write(sandbox, "oi")
    answer = client.post("send-seen", json={"phone": "5511988887777", "isGroup": False, "isLid": False})
    assert answer.status_code == 200
    assert sandbox.state()["seen"] == [{"session": "user_a", "chat": CONTACT}]
    assert client.get("all-unread-messages").json()["response"] == []


def test_it_shows_what_was_sent_in_the_chat_with_its_ack(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    [sent] = client.post("send-message", json={"phone": "5511988887777", "message": "Olá!"}).json()["response"]
    sandbox.receiver.wait("onack", ack=3)
    notice, message = client.get(f"get-messages/{CONTACT}").json()["response"]
    assert notice["isNotification"] is True
    assert message["id"] == sent["id"]
    assert message["fromMe"] is True
    assert message["ack"] == 3
    assert message["body"] == "Olá!"


def test_it_answers_401_for_a_chat_that_does_not_exist(sandbox: Sandbox) -> None:
    response = sandbox.pair().get("get-messages/5511900000000@c.us")
    assert response.status_code == 401
    assert response.json()["response"] == "Error on open list"
    assert response.json()["error"] == {"code": "chat_not_found", "chatId": "5511900000000@c.us", "level": "error"}


def test_it_lists_chats_as_a_bare_list(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    assert client.post("list-chats", json={}).json() == []
    _write(sandbox, "oi", t=100)
    _write(sandbox, "oi do grupo", t=200, group="120363@g.us")
    response = client.post("list-chats", json={})
    assert response.status_code == 200
    chats = response.json()
    assert [chat["id"]["_serialized"] for chat in chats] == ["120363@g.us", CONTACT]
    assert [chat["t"] for chat in chats] == [200, 100]
    only = client.post("list-chats", json={"onlyUsers": True}).json()
    assert [chat["id"]["_serialized"] for chat in only] == [CONTACT]
    page = client.post("list-chats", json={"count": 1, "id": "120363@g.us"}).json()
    assert [chat["id"]["_serialized"] for chat in page] == [CONTACT]


def test_it_lists_what_is_unread(sandbox: Sandbox) -> None:
    sandbox.receiver.status = 500
    client = sandbox.pair()
    _write(sandbox, "um")
    _write(sandbox, "dois")
    data = client.get("all-unread-messages").json()
    assert data["status"] == "success"
    assert [message["body"] for message in data["response"]] == ["um", "dois"]


def test_it_finds_a_message_by_id_with_a_201(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    message_id = _write(sandbox, "oi")
    response = client.get(f"message-by-id/{message_id}")
    assert response.status_code == 201
    data = response.json()["response"]
    assert data["contact"] == "5511988887777"
    assert data["session"] == "user_a"
    assert data["data"]["id"] == message_id
    assert data["data"]["body"] == "oi"
    assert client.get("message-by-id/nothing").status_code == 400


def test_it_hands_out_the_file_of_a_message(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    message_id = _write(sandbox, "", base64=JPEG, mimetype="image/jpeg", filename="foto.jpg")
    response = client.get(f"get-media-by-message/{message_id}")
    assert response.status_code == 200
    assert response.json() == {"base64": JPEG, "mimetype": "image/jpeg"}
    plain = client.get(f"get-media-by-message/{_write(sandbox, 'oi')}")
    assert plain.status_code == 400
    assert plain.json()["message"] == "Message does not contain media"
    unknown = client.get("get-media-by-message/nothing")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (500, "msg_not_found")


def test_it_lists_contacts_with_their_names(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    _write(sandbox, "oi")
    data = client.get("all-contacts").json()
    assert data["status"] == "success"
    assert [(contact["id"]["_serialized"], contact["name"]) for contact in data["response"]] == [(CONTACT, "Maria")]


def test_it_maps_a_phone_and_its_anonymous_id_both_ways(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    entry = client.get(f"contact/pn-lid/{CONTACT}").json()
    lid = entry["lid"]["_serialized"]
    assert lid.endswith("@lid")
    assert entry["phoneNumber"]["_serialized"] == CONTACT
    back = client.get(f"contact/pn-lid/{lid}").json()
    assert back["phoneNumber"]["_serialized"] == CONTACT
    unknown = client.get("contact/pn-lid/999999999999999@lid")
    assert (unknown.status_code, list(unknown.json())) == (200, ["lid"])
    assert client.get("contact/pn-lid/120363@g.us").status_code == 500
    assert sandbox.client("user_b").get(f"contact/pn-lid/{CONTACT}").status_code == 404


def test_it_sends_to_an_anonymous_id_that_it_knows(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    lid = client.get(f"contact/pn-lid/{CONTACT}").json()["lid"]["_serialized"]
    client.post("send-message", json={"phone": lid, "message": "oi", "isLid": True})
    assert [row["to"] for row in sandbox.sent()] == [lid]


@pytest.mark.parametrize(
    "path", ["get-messages/x", "all-unread-messages", "message-by-id/x", "all-contacts", "blocklist"]
)
def test_it_reads_nothing_when_not_connected(sandbox: Sandbox, path: str) -> None:
    response = sandbox.start().get(path)
    assert response.status_code == 404
    assert response.json()["status"] == "Disconnected"


def test_it_never_answers_the_blocklist(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    with pytest.raises(httpx.ReadTimeout):
        client.get("blocklist", timeout=0.3)
    eventually(lambda: sandbox.status(client) == "CONNECTED", "life goes on")
