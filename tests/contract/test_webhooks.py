"""Section "Webhooks"."""

import base64
import io
import re
from typing import Any

import pytest
from PIL import Image

from sandbox.models import wid
from tests.support.contract_sandbox import WEBHOOK_PASSWORD, Sandbox, eventually


def _inbound(sandbox: Sandbox, **body: Any) -> dict[str, Any]:
    given = {"phone": "5511988887777", "name": "Maria Souza", "text": "Olá!", **body}
    answer: dict[str, Any] = sandbox.control("sessions/user_a/inbound", **given).json()
    return answer


def test_it_posts_json_like_axios_with_the_urls_user_info(sandbox: Sandbox) -> None:
    sandbox.start()
    sandbox.receiver.wait("qrcode")
    for delivery in sandbox.receiver.deliveries:
        headers = delivery.headers
        assert headers["user-agent"] == "axios/1.21.0"
        assert headers["content-type"] == "application/json"
        assert base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode() == f"wpp:{WEBHOOK_PASSWORD}"
        assert "x-verify" not in headers
        assert delivery.path == "/hook"
        assert headers["host"] == sandbox.receiver.url.partition("@")[2].partition("/")[0]


def test_it_sends_no_authorization_without_user_info(sandbox: Sandbox) -> None:
    bare = sandbox.receiver.url.replace(f"wpp:{WEBHOOK_PASSWORD}@", "")
    sandbox.client().post("start-session", json={"webhook": bare + "/a?b=c"})
    sandbox.receiver.wait("qrcode")
    assert "authorization" not in sandbox.receiver.deliveries[0].headers
    assert sandbox.receiver.deliveries[0].path == "/hook/a?b=c"


def test_it_posts_the_qr_after_not_logged(sandbox: Sandbox) -> None:
    client = sandbox.start()
    [event] = sandbox.receiver.wait("qrcode")
    assert sandbox.receiver.bodies()[0] == {"event": "status-find", "session": "user_a", "status": "notLogged"}
    assert set(event) == {"event", "session", "qrcode", "urlcode"}
    assert Image.open(io.BytesIO(base64.b64decode(event["qrcode"], validate=True))).format == "PNG"
    assert event["urlcode"] == client.get("status-session").json()["urlcode"]


def test_it_announces_a_scan_without_is_logged(sandbox: Sandbox) -> None:
    sandbox.pair()
    statuses = [event["status"] for event in sandbox.receiver.wait("status-find", count=3)]
    assert statuses == ["notLogged", "qrReadSuccess", "inChat"]
    assert not [event for event in sandbox.receiver.bodies() if event.get("status") == "CONNECTED"]


def test_it_posts_an_inbound_message(sandbox: Sandbox) -> None:
    sandbox.pair(phone="5511911112222")
    answer = _inbound(sandbox)
    [event] = sandbox.receiver.wait("onmessage")
    assert event["session"] == "user_a"
    assert event["id"] == answer["id"]
    assert re.fullmatch(r"false_5511988887777@c\.us_3EB0[0-9A-F]+", event["id"])
    assert event["from"] == "5511988887777@c.us"
    assert event["chatId"] == event["sender"]["id"] == wid("5511988887777@c.us")
    assert event["isNotification"] is False
    assert event["to"] == "5511911112222@c.us"
    assert event["type"] == "chat"
    assert event["body"] == "Olá!"
    assert event["notifyName"] == event["sender"]["name"] == event["sender"]["pushname"] == "Maria Souza"
    assert event["isGroupMsg"] is False
    assert event["fromMe"] is False
    assert isinstance(event["t"], int)


def test_it_puts_the_whole_file_into_the_body(sandbox: Sandbox) -> None:
    sandbox.pair()
    encoded = base64.b64encode(b"%PDF-").decode()
    _inbound(sandbox, base64=encoded, mimetype="application/pdf", filename="nota.pdf", caption="a nota")
    [event] = sandbox.receiver.wait("onmessage")
    assert event["type"] == "document"
    assert event["body"] == encoded
    assert event["mimetype"] == "application/pdf"
    assert event["caption"] == "a nota"


def test_it_posts_a_group_message_with_its_author(sandbox: Sandbox) -> None:
    sandbox.pair()
    _inbound(sandbox, group="120363@g.us")
    [event] = sandbox.receiver.wait("onmessage")
    assert event["from"] == event["chatId"]["_serialized"] == "120363@g.us"
    assert event["isGroupMsg"] is True
    assert event["author"] == event["sender"]["id"]["_serialized"] == "5511988887777@c.us"
    assert event["id"].endswith("_5511988887777@c.us")


@pytest.mark.parametrize(("status", "unread"), [(200, 0), (500, 1)])
def test_it_marks_the_chat_as_read_after_a_2xx(sandbox: Sandbox, status: int, unread: int) -> None:
    client = sandbox.pair()
    sandbox.receiver.status = status
    _inbound(sandbox)
    posted = lambda: [post for post in sandbox.state()["posts"] if post["event"] == "onmessage"]  # noqa: E731
    eventually(posted, "the post")
    eventually(lambda: client.post("list-chats", json={}).json()[0]["unreadCount"] == unread, f"{unread} unread")


def test_it_tries_once(sandbox: Sandbox) -> None:
    sandbox.pair()
    sandbox.receiver.status = 503
    _inbound(sandbox)
    _inbound(sandbox, text="depois")
    eventually(lambda: sandbox.receiver.bodies("onmessage", body="depois"), "the next event")
    assert len(sandbox.receiver.bodies("onmessage", body="Olá!")) == 1


def test_it_posts_acks_with_the_id_as_an_object(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    [sent] = client.post("send-message", json={"phone": "5511988887777", "message": "oi"}).json()["response"]
    acks = sandbox.receiver.wait("onack", count=3)
    assert [event["ack"] for event in acks] == [1, 2, 3]
    for event in acks:
        assert event["id"]["_serialized"] == sent["id"]
        assert event["id"]["fromMe"] is True
        assert event["id"]["remote"] == event["to"] == wid("5511988887777@c.us")
        # The whole message, as WhatsApp Web keeps it: what only the tidied one has is not there.
        assert set(event) - set(sent) == {"event", "session"}
        assert set(sent) - set(event) == {"chatId", "fromMe", "sender", "timestamp", "isGroupMsg", "content"}


def test_it_posts_the_whole_file_with_each_ack(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    body = {"phone": "5511988887777", "filename": "a.png", "caption": "veja", "base64": "data:image/png;base64,aGk="}
    client.post("send-image", json=body)
    acks = sandbox.receiver.wait("onack", count=3)
    assert [(event["ack"], event["body"], event["mimetype"]) for event in acks] == [
        (number, "aGk=", "image/png") for number in (1, 2, 3)
    ]


def test_it_gives_every_session_its_own_webhook(sandbox: Sandbox) -> None:
    for session in ("user_a", "user_b"):
        webhook = f"{sandbox.receiver.url}/{session}"
        sandbox.client(session).post("start-session", json={"webhook": webhook})
        sandbox.receiver.wait("qrcode", session=session)
    paths = {(delivery.path, delivery.body["session"]) for delivery in sandbox.receiver.deliveries}
    assert paths == {("/hook/user_a", "user_a"), ("/hook/user_b", "user_b")}


def test_it_lets_a_payload_key_win_over_the_session(sandbox: Sandbox) -> None:
    sandbox.pair()
    sandbox.control("sessions/user_a/event", event="onpresencechanged", session="someone else", state="available")
    [event] = sandbox.receiver.wait("onpresencechanged")
    assert event == {"event": "onpresencechanged", "session": "someone else", "state": "available"}


def test_it_does_not_post_messages_typed_on_the_phone(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    client.post("send-message", json={"phone": "5511988887777", "message": "oi"})
    sandbox.receiver.wait("onack", ack=3)
    assert sandbox.receiver.bodies("onselfmessage") == []


def test_it_survives_a_receiver_that_is_not_there(sandbox: Sandbox) -> None:
    client = sandbox.client()
    client.post("start-session", json={"webhook": "http://127.0.0.1:1/nobody"})
    eventually(lambda: [post for post in sandbox.state()["posts"] if post["event"] == "qrcode"], "the lost post")
    assert sandbox.state()["posts"][-1]["status"] == 0
    assert sandbox.status(client) == "QRCODE"
