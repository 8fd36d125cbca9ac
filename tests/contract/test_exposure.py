"""What a server answers to those who prove nothing: the bare paths, and what a proxy in front keeps shut.

The socket's packets are those of Engine.IO 4 and Socket.IO 5 as documented; the rest is the real server's.
"""

import json

import httpx
import pytest

from tests.support.contract_sandbox import Sandbox

POLLING = {"EIO": "4", "transport": "polling"}


def test_it_answers_a_post_to_unhealthy_with_express_own_page_and_lives(sandbox: Sandbox) -> None:
    response = sandbox.anonymous().post("/unhealthy")
    assert response.status_code == 404
    assert "Cannot POST /unhealthy" in response.text
    assert sandbox.server.running


def test_it_lets_anybody_into_its_socket(sandbox: Sandbox) -> None:
    client = sandbox.anonymous()
    opened = client.get("/socket.io/", params=POLLING)
    assert opened.headers["content-type"].startswith("text/plain")
    assert opened.text[0] == "0"
    sid = json.loads(opened.text[1:])["sid"]
    assert client.post("/socket.io/", params={**POLLING, "sid": sid}, content="40").text == "ok"
    joined = client.get("/socket.io/", params={**POLLING, "sid": sid})
    assert joined.text.startswith('40{"sid":"')
    client.post("/socket.io/", params={**POLLING, "sid": sid}, content="1")
    assert client.get("/socket.io/", params={**POLLING, "sid": sid}).json() == {
        "code": 1,
        "message": "Session ID unknown",
    }


def test_it_knows_no_other_transport(sandbox: Sandbox) -> None:
    assert sandbox.anonymous().get("/socket.io/").status_code == 400


def test_socket_refuses_tells_why_it_lets_nobody_in(sandbox: Sandbox) -> None:
    sandbox.fault("socket_refuses")
    client = sandbox.anonymous()
    sid = json.loads(client.get("/socket.io/", params=POLLING).text[1:])["sid"]
    client.post("/socket.io/", params={**POLLING, "sid": sid}, content="40")
    assert client.get("/socket.io/", params={**POLLING, "sid": sid}).text.startswith('44{"message":')


@pytest.mark.parametrize("path", ["/unhealthy", "/socket.io/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_paths_blocked_shuts_the_open_doors_only(sandbox: Sandbox, method: str, path: str) -> None:
    sandbox.fault("paths_blocked")
    response = sandbox.anonymous().request(method, path)
    assert response.status_code == 403
    assert "Cannot" not in response.text
    assert sandbox.server.running
    assert httpx.get(f"{sandbox.base_url}/healthz").status_code == 200


def test_old_version_is_told_with_a_sessions_state(sandbox: Sandbox) -> None:
    client = sandbox.start()
    assert client.get("status-session").json()["version"] == "2.10.4"
    sandbox.fault("old_version", version="2.8.6")
    assert client.get("status-session").json()["version"] == "2.8.6"
