"""Section "Authentication"."""

import time

import bcrypt
import httpx
import pytest

from sandbox.calls import make_token
from tests.support.contract_sandbox import SECRET, Sandbox, eventually

NO_TOKEN = {"message": "Token is not present. Check your header and try again"}
BAD_TOKEN = {"error": "Check that the Session and Token are correct"}


def test_it_makes_a_token_of_cost_ten_for_the_secret_key(sandbox: Sandbox) -> None:
    response = sandbox.anonymous().post(f"/api/user_a/{SECRET}/generate-token")
    data = response.json()
    assert response.status_code == 201
    assert list(data) == ["status", "session", "token", "full"]
    assert data["status"] == "success"
    assert data["session"] == "user_a"
    assert data["token"].startswith("$2b$10$")
    assert data["full"] == f"user_a:{data['token']}"
    assert "/" not in data["token"]
    assert "+" not in data["token"]
    assert bcrypt.checkpw(f"user_a{SECRET}".encode(), data["token"].replace("_", "/").replace("-", "+").encode())


def test_it_accepts_its_own_token_and_the_full_form_in_the_path(sandbox: Sandbox) -> None:
    data = sandbox.anonymous().post(f"/api/user_a/{SECRET}/generate-token").json()
    bearer = {"Authorization": f"Bearer {data['token']}"}
    assert sandbox.anonymous().get("/api/user_a/status-session", headers=bearer).status_code == 200
    assert sandbox.anonymous().get(f"/api/{data['full']}/status-session").status_code == 200


def test_it_refuses_a_wrong_secret_key(sandbox: Sandbox) -> None:
    response = sandbox.anonymous().post("/api/user_a/wrong/generate-token")
    assert response.status_code == 400
    assert response.json() == {"response": False, "message": "The SECRET_KEY is incorrect"}


@pytest.mark.parametrize("headers", [{}, {"Authorization": ""}, {"Authorization": "Bearer"}])
def test_it_misses_a_token(sandbox: Sandbox, headers: dict[str, str]) -> None:
    response = sandbox.anonymous().get("/api/user_a/status-session", headers=headers)
    assert response.status_code == 401
    assert response.json() == NO_TOKEN


@pytest.mark.parametrize(
    "token",
    [SECRET, "nonsense", make_token("user_b", SECRET, 4), make_token("user_a", "x", 4)],
    ids=["the secret itself", "nonsense", "another session's", "another secret's"],
)
def test_it_refuses_every_token_that_is_not_of_this_session(sandbox: Sandbox, token: str) -> None:
    bearer = {"Authorization": f"Bearer {token}"}
    response = sandbox.anonymous().get("/api/user_a/status-session", headers=bearer)
    assert response.status_code == 401
    assert response.json() == BAD_TOKEN


def test_it_checks_the_token_before_anything_else(sandbox: Sandbox) -> None:
    client = sandbox.pair()
    client.headers["Authorization"] = "Bearer wrong"
    assert client.post("send-message", json={"phone": "5511999999999", "message": "x"}).status_code == 401
    assert client.post("close-session").status_code == 401
    assert sandbox.sent() == []


def test_it_reads_72_bytes_of_session_and_secret(sandbox: Sandbox) -> None:
    session = "user_" + "a" * 70
    digest = bcrypt.hashpw(session[:72].encode(), bcrypt.gensalt(4)).decode().replace("/", "_").replace("+", "-")
    bearer = {"Authorization": f"Bearer {digest}"}
    assert sandbox.anonymous().get(f"/api/{session}/status-session", headers=bearer).status_code == 200


def test_it_pays_for_the_cost_factor_on_every_call(sandbox: Sandbox) -> None:
    def fastest(cost: int) -> float:
        client = sandbox.anonymous()
        bearer = {"Authorization": f"Bearer {make_token('user_a', SECRET, cost)}"}
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            assert client.get("/api/user_a/status-session", headers=bearer).status_code == 200
            times.append(time.perf_counter() - begun)
        return min(times)

    # A remembered result would make both equal; the true ratio is 2**6 for the hash alone.
    assert fastest(10) > 4 * fastest(4)


def test_it_answers_html_for_an_unknown_route(sandbox: Sandbox) -> None:
    client = sandbox.client()
    for method, path in [("POST", "send-text"), ("GET", "send-message"), ("GET", "no<such>")]:
        response = client.request(method, path)
        assert response.status_code == 404
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert f"Cannot {method} /api/user_a/" in response.text
        assert "<such>" not in response.text
    page = client.post("send-text").text
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">\n')
    assert "<pre>Cannot POST /api/user_a/send-text</pre>" in page


def test_it_adds_a_session_key_only_to_requests_typed_as_json(sandbox: Sandbox) -> None:
    client = sandbox.client()
    typed = {"Content-Type": "application/json"}
    assert client.get("status-session").json() == {"status": "CLOSED", "qrcode": None}
    assert client.get("status-session", headers=typed).json() == {"status": "CLOSED", "qrcode": None, "session": ""}
    refused = httpx.get(f"{sandbox.base_url}/api/user_a/status-session", headers=typed)
    assert refused.json() == {**NO_TOKEN, "session": ""}
    client = sandbox.start()
    assert client.get("status-session", headers=typed).json()["session"] == "user_a"
    assert (
        "session"
        not in client.get("status-session", headers={"Content-Type": "application/json; charset=utf-8"}).json()
    )


def test_it_asks_no_token_for_health_and_metrics(sandbox: Sandbox) -> None:
    health = sandbox.anonymous().get("/healthz")
    assert health.status_code == 200
    assert health.json()["message"] == "OK"
    metrics = sandbox.anonymous().get("/metrics")
    assert metrics.status_code == 200
    assert metrics.headers["content-type"].startswith("text/plain")


def test_it_dies_of_unhealthy(sandbox: Sandbox) -> None:
    assert sandbox.anonymous().get("/unhealthy").status_code == 503
    eventually(lambda: not sandbox.server.running, "the server's death")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{sandbox.base_url}/healthz")
