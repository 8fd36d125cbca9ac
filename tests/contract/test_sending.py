"""Section "Sending"."""

import base64
import re
from typing import Any

import httpx
import pytest

from tests.support.contract_sandbox import Sandbox, eventually, sandbox_with

PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG not really").decode()
OGG = "data:audio/ogg;base64," + base64.b64encode(b"OggS").decode()
TEXT = {"phone": "5511999999999", "message": "Olá!", "isGroup": False}
ID = re.compile(r"^true_5511999999999@c\.us_3EB0[0-9A-F]+_out$")
SENDS = [
    ("send-message", TEXT),
    ("send-image", {"phone": "5511999999999", "filename": "a.png", "caption": "Olá!", "base64": PNG}),
    ("send-file-base64", {"phone": "5511999999999", "filename": "a.pdf", "caption": "Olá!", "base64": PNG}),
    ("send-voice-base64", {"phone": "5511999999999", "base64Ptt": OGG}),
    (
        "send-location",
        {"phone": "5511999999999", "lat": "-23.5", "lng": "-46.6", "title": "Loja", "address": "Rua A, 1"},
    ),
    ("send-sticker", {"phone": "5511999999999", "path": PNG}),
    ("send-sticker-gif", {"phone": "5511999999999", "path": PNG}),
]
CARD = {"phone": "5511999999999", "name": "Ana", "contactsId": ["5511977776666@c.us"]}


@pytest.mark.parametrize(("path", "body"), SENDS)
def test_it_sends_with_a_201_and_an_id(sandbox: Sandbox, path: str, body: dict[str, Any]) -> None:
    client = sandbox.pair()
    response = client.post(path, json=body)
    assert response.status_code == 201
    data = response.json()
    assert data["status"] == "success"
    assert data["mapper"] == "return"
    assert data["session"] == "user_a"
    [message] = data["response"]
    assert ID.match(message["id"])
    assert [row["id"] for row in sandbox.sent()] == [message["id"]]
    if path == "send-message":
        assert message["to"] == "5511999999999@c.us"
        assert isinstance(message["t"], int)
    else:
        assert list(message) == ["ack", "id"]
    if path == "send-location":
        assert message["ack"] == 0
    else:
        assert message["ack"] == 1
        assert [event["ack"] for event in sandbox.receiver.bodies("onack")][:1] == [1], "before the answer"


@pytest.mark.parametrize(("path", "body"), SENDS)
def test_it_sends_nothing_when_not_connected(sandbox: Sandbox, path: str, body: dict[str, Any]) -> None:
    response = sandbox.start().post(path, json=body)
    assert response.status_code == 404
    assert response.json()["status"] == "Disconnected"
    assert sandbox.sent() == []


def test_it_answers_a_contact_card_with_200_and_the_message_alone(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    response = client.post("contact-vcard", json=CARD)
    assert response.status_code == 200
    message = response.json()["response"]
    assert ID.match(message["id"])
    assert (message["ack"], message["to"]) == (0, "5511999999999@c.us")
    assert set(message) == {"id", "ack", "from", "to", "latestEditMsgKey", "sendMsgResult"}
    assert [(row["id"], "waid=5511977776666" in row["body"]) for row in sandbox.sent()] == [(message["id"], True)]
    assert "response" not in client.post("contact-vcard", json={**CARD, "phone": ""}).json()


def test_it_sends_a_contact_card_for_a_short_anonymous_id_to_a_stranger(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    client.post("contact-vcard", json={**CARD, "phone": "21234567890123", "isLid": True})
    assert [row["to"] for row in sandbox.sent()] == ["21234567890123@c.us"]


def test_it_keeps_what_a_reply_quotes(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    [first] = client.post("send-message", json=TEXT).json()["response"]
    [reply] = client.post("send-reply", json={**TEXT, "messageId": first["id"]}).json()["response"]
    stanza = first["id"].split("_")[2]
    assert (reply["quotedStanzaID"], reply["quotedMsg"]) == (stanza, {"type": "chat", "body": "Olá!"})
    body = {"phone": "5511999999999", "base64Ptt": OGG, "quotedMessageId": first["id"]}
    client.post("send-voice-base64", json=body)
    assert [row["quoted"] for row in sandbox.sent()] == [None, stanza, stanza]


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("send-reply", {**TEXT, "messageId": "true_5511999999999@c.us_3EB0AB_out"}, "quoted_msg_not_found"),
        ("send-message", {**TEXT, "phone": "299999999999999", "isLid": True}, "chat_not_found"),
        # What is longer than 14 signs is taken for a @lid, blanks included.
        ("send-message", {**TEXT, "phone": "+55 (11) 99999-9999"}, "chat_not_found"),
        ("send-image", {"phone": "5511999999999", "filename": "a.png"}, "empty_file"),
        ("send-image", {"phone": "5511999999999", "filename": "a.png", "base64": "/tmp/a.png"}, "empty_file"),
        ("send-sticker", {"phone": "5511999999999", "path": "data:application/pdf;base64,JVBERi0="}, "invalid_image"),
    ],
)
def test_it_says_with_a_500_what_it_did_not_try(sandbox: Sandbox, path: str, body: dict[str, Any], code: str) -> None:
    response = sandbox.pair().post(path, json=body)
    assert response.status_code == 500
    assert response.json()["message"] == "Erro ao enviar a mensagem."
    assert response.json()["error"] == {"code": code, "level": "error"}
    assert sandbox.sent() == []


def test_it_sends_what_is_no_base64_as_an_empty_file(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    body = {"phone": "5511999999999", "filename": "a.png", "base64": "data:image/png;base64,isto não é"}
    assert client.post("send-image", json=body).status_code == 201
    ack = sandbox.receiver.wait("onack")[0]
    assert (ack["body"], ack["size"]) == ("", 0)


def test_it_tells_nobody_of_a_phone_with_punctuation(sandbox: Sandbox) -> None:
    sandbox.pair().post("send-message", json={**TEXT, "phone": "+55 (11) 99999-9999"})
    assert sandbox.sent() == []
    assert sandbox.state()["not_sent"][0]["outcome"] == "nobody"


@pytest.mark.parametrize("phone", [{"phone": ""}, {"phone": []}, {}])
def test_it_answers_success_with_nothing_for_an_empty_phone(sandbox: Sandbox, phone: dict[str, Any]) -> None:
    response = sandbox.pair().post("send-message", json={"message": "Olá!", **phone})
    assert response.status_code == 201
    assert response.json()["response"] == []
    assert sandbox.sent() == []


def test_it_sends_to_several_phones_and_to_a_group(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    both = client.post("send-message", json={**TEXT, "phone": "5511999999999, 5511988888888"}).json()["response"]
    assert [message["to"] for message in both] == ["5511999999999@c.us", "5511988888888@c.us"]
    [group] = client.post("send-message", json={**TEXT, "phone": "12036304@g.us", "isGroup": True}).json()["response"]
    assert group["to"] == "12036304@g.us"
    assert len(sandbox.sent()) == 3


def test_it_refuses_a_number_not_on_whatsapp_and_tries_all_the_same(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.control("numbers/5511999999999", exists=False)
    response = client.post("send-message", json={**TEXT, "phone": ["5511999999999", "5511988888888"]})
    assert response.status_code == 400
    assert response.json()["status"] == "Connected"
    assert response.json()["message"] == "O número 5511999999999 não existe."
    state = sandbox.state()
    assert [row["outcome"] for row in state["not_sent"]] == ["no_such_number"]
    assert [row["to"] for row in state["sent"]] == ["5511988888888@c.us"]


def test_it_checks_a_number_and_names_the_address_whatsapp_uses(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    data = client.get("check-number-status/5511999999999").json()
    assert data["status"] == "success"
    assert data["response"]["id"]["_serialized"] == "5511999999999@c.us"
    assert data["response"]["numberExists"] is True
    sandbox.control("numbers/5511999999999", ninth_digit=False)
    data = client.get("check-number-status/5511999999999").json()
    assert data["response"]["id"]["_serialized"] == "551199999999@c.us"
    [message] = client.post("send-message", json=TEXT).json()["response"]
    assert message["to"] == "551199999999@c.us"
    sandbox.control("numbers/5511999999999", exists=False)
    data = client.get("check-number-status/5511999999999").json()
    assert data["response"] == {
        "id": "5511999999999@c.us", "isBusiness": False, "canReceiveMessage": False, "numberExists": False,
        "status": 404,
    }  # fmt: skip


def test_it_says_disconnected_for_a_phone_that_is_a_json_number(sandbox: Sandbox) -> None:
    response = sandbox.pair().post("send-message", json={**TEXT, "phone": 5511999999999})
    assert response.status_code == 404
    assert sandbox.sent() == []


def test_it_sends_a_message_without_a_text(sandbox: Sandbox) -> None:
    response = sandbox.pair().post("send-message", json={"phone": "5511999999999"})
    assert response.status_code == 201
    assert "body" not in response.json()["response"][0]


def test_it_takes_bodies_up_to_its_limit() -> None:
    with sandbox_with(max_body=64 * 1024) as sandbox:
        client = sandbox.pair()
        body = {"phone": "5511999999999", "filename": "a.png", "base64": "data:image/png;base64," + "A" * 60 * 1024}
        assert client.post("send-file-base64", json=body).status_code == 201
        body["base64"] += "A" * 8 * 1024
        response = client.post("send-file-base64", json=body)
        assert response.status_code == 413
        assert response.headers["content-type"].startswith("text/html")
        assert len(sandbox.sent()) == 1


def test_it_takes_a_body_of_49_megabytes_by_default(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    body = {"phone": "5511999999999", "filename": "a.bin", "base64": "data:image/png;base64," + "A" * 49 * 1024 * 1024}
    assert client.post("send-file-base64", json=body, timeout=60).status_code == 201


def test_it_answers_html_for_a_broken_body(sandbox: Sandbox) -> None:
    typed = {"Content-Type": "application/json"}
    response = sandbox.pair().post("send-message", content=b'{"phone":', headers=typed)
    assert response.status_code == 400
    assert response.headers["content-type"].startswith("text/html")


def test_it_does_not_queue_the_calls_of_a_session(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    sandbox.fault("send_timeout", times=1)
    with pytest.raises(httpx.ReadTimeout):
        client.post("send-message", json={**TEXT, "message": "1"}, timeout=0.3)
    assert client.post("send-message", json={**TEXT, "message": "2"}).status_code == 201
    eventually(lambda: [row["body"] for row in sandbox.sent()] == ["1", "2"], "both")


def test_it_reacts_to_a_message_and_takes_it_back(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    written = {"phone": "5511988887777", "text": "Olá"}
    message_id = sandbox.control("sessions/user_a/inbound", **written).json()["id"]
    for emoji, shown in (("👍", "👍"), (False, "")):
        answer = client.post("react-message", json={"msgId": message_id, "reaction": emoji})
        assert (answer.status_code, answer.json()["response"]) == (200, {"message": "Reaction sended"})
        message = client.get("get-messages/5511988887777").json()["response"][-1]
        assert message["reactions"] == {"me": shown}
    assert client.post("react-message", json={"msgId": "nothing", "reaction": "👍"}).status_code == 500
