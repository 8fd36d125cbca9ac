"""The stand-in's own page and its JSON routes."""

import httpx
import pytest

from tests.support.contract_sandbox import Sandbox, eventually


def test_it_shows_a_page_that_needs_nothing_from_outside(sandbox: Sandbox) -> None:
    response = httpx.get(f"{sandbox.base_url}/_sandbox")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert '<html lang="pt-BR">' in response.text
    assert "http://" not in response.text
    assert "https://" not in response.text
    assert "innerHTML" not in response.text


def test_it_tells_its_state(sandbox: Sandbox) -> None:
    client = sandbox.pair(phone="5511911112222")
    client.post("send-message", json={"phone": "5511999999999", "message": "um"})
    client.post("send-message", json={"phone": "5511999999999", "message": "dois"})
    state = sandbox.state()
    [session] = state["sessions"]
    assert (session["name"], session["status"], session["phone"]) == ("user_a", "CONNECTED", "5511911112222")
    assert session["has_webhook"] is True
    assert [(row["seq"], row["session"], row["body"]) for row in state["sent"]] == [
        (1, "user_a", "um"),
        (2, "user_a", "dois"),
    ]
    newest = httpx.get(f"{sandbox.base_url}/_sandbox/state", params={"last": 1}).json()
    assert [row["body"] for row in newest["sent"]] == ["dois"]


def test_it_forgets_everything(sandbox: Sandbox) -> None:
    client = sandbox.pair(phone="5511911112222")
    client.post("send-message", json={"phone": "5511999999999", "message": "um"})
    sandbox.control("numbers/5511988887777", exists=False)
    sandbox.fault("zombie")
    sandbox.control("reset")
    state = sandbox.state()
    assert [state[known] for known in ("sessions", "sent", "not_sent", "posts")] == [[], [], [], []]
    assert not any(fault["on"] for fault in state["faults"])
    assert sandbox.status(client) == "CLOSED"
    sandbox.pair(phone="5511933334444")
    assert [session["phone"] for session in sandbox.state()["sessions"]] == ["5511933334444"]


def test_it_never_tells_a_secret(sandbox: Sandbox) -> None:
    sandbox.pair()
    state = httpx.get(f"{sandbox.base_url}/_sandbox/state").text
    assert sandbox.secret not in state
    assert "webhook-password" not in state


def test_it_shows_the_current_qr(sandbox: Sandbox) -> None:
    sandbox.start()
    picture = httpx.get(f"{sandbox.base_url}/_sandbox/sessions/user_a/qr.png")
    assert picture.headers["content-type"] == "image/png"
    sandbox.control("sessions/user_a/scan")
    assert httpx.get(f"{sandbox.base_url}/_sandbox/sessions/user_a/qr.png").status_code == 404


def test_it_pairs_a_random_brazilian_phone_by_default(sandbox: Sandbox) -> None:
    client = sandbox.start()
    answer = sandbox.control("sessions/user_a/scan").json()
    sandbox.come_up(client)
    assert answer["phone"].startswith("55119")
    assert len(answer["phone"]) == 13
    assert client.get("get-phone-number").json()["response"] == f"{answer['phone']}@c.us"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("sessions/nobody/scan", {}, 404),
        ("sessions/user_a/scan", {}, 409),
        ("sessions/user_a/inbound", {"text": "sem número"}, 422),
        ("sessions/user_a/ack", {"id": "x"}, 422),
        ("faults/nonsense", {"on": True}, 404),
    ],
)
def test_it_says_plainly_what_it_cannot_do(sandbox: Sandbox, path: str, body: dict[str, object], status: int) -> None:
    sandbox.pair()
    response = httpx.post(f"{sandbox.base_url}/_sandbox/{path}", json=body)
    assert response.status_code == status
    assert response.json()["error"]


@pytest.mark.parametrize("ack", [-7, 0, 1, 4])
def test_it_pushes_any_ack_for_any_id(sandbox: Sandbox, ack: int) -> None:
    sandbox.pair()
    unknown = "true_5511999999999@c.us_3EB0FFFF_out"
    assert sandbox.control("sessions/user_a/ack", id=unknown, ack=ack).json() == {"webhook_status": 200}
    [event] = sandbox.receiver.wait("onack")
    assert event["ack"] == ack
    assert event["id"] == {
        "fromMe": True,
        "remote": {"server": "c.us", "user": "5511999999999", "_serialized": "5511999999999@c.us"},
        "id": "3EB0FFFF",
        "self": "out",
        "_serialized": unknown,
    }


def test_it_pushes_the_overviews_dialect_as_a_raw_event(sandbox: Sandbox) -> None:
    sandbox.pair()
    sandbox.control("sessions/user_a/event", session="user_a", status="CONNECTED")
    eventually(lambda: {"session": "user_a", "status": "CONNECTED"} in sandbox.receiver.bodies(), "the raw event")


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
def test_it_obeys_no_other_site(sandbox: Sandbox, headers: dict[str, str]) -> None:
    sandbox.start()
    response = httpx.post(f"{sandbox.base_url}/_sandbox/sessions/user_a/scan", json={}, headers=headers)
    assert response.status_code == 403
    assert sandbox.state()["sessions"][0]["status"] == "QRCODE"


def test_it_stays_reachable_while_the_api_is_down(sandbox: Sandbox) -> None:
    sandbox.fault("server_down")
    assert httpx.get(f"{sandbox.base_url}/_sandbox").status_code == 200
    assert httpx.get(f"{sandbox.base_url}/_sandbox/state").status_code == 200
