"""The log lines from pairing to an answer: JSON all of them, joined by a request id from page to WPPConnect server."""

import json
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from tests.support.browser_steps import pair
from tests.support.browser_user import NewBrowserUser
from tests.support.processes import ALL_PROCESSES, Processes
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser

TEXT = "Um texto que ninguém deve ler no log"
PHONE = "5511912345678"


def lines(processes: Processes) -> list[dict[str, Any]]:
    """Every line of every process, parsed; one that is no JSON object fails."""
    found = []
    for name in ALL_PROCESSES:
        for line in processes.log_file(name).read_text().splitlines():
            parsed = json.loads(line)
            assert {"event", "level", "timestamp", "process"} <= parsed.keys(), line
            found.append(parsed)
    return found


def told_with(processes: Processes, request_id: str) -> set[tuple[str, str]]:
    """(process, event or route) of each line with that request id."""
    return {
        (line["process"], line.get("route", line["event"]))
        for line in lines(processes)
        if line.get("request_id") == request_id
    }


def test_it_joins_page_worker_and_server_and_tells_nothing_private(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user()
    processes, database = user.installation.processes, user.installation.database
    pair(user)
    user.page.get_by_text("Enviar uma mensagem").click()
    user.page.get_by_label("Para (WhatsApp)").fill("(11) 91234-5678")
    user.page.get_by_role("textbox", name="Mensagem").fill(TEXT)
    user.page.get_by_role("button", name="Enviar", exact=True).click()
    expect(user.page.get_by_text("Lida")).to_be_visible()
    processes.control.inbound(user.session, PHONE, "Resposta que também é segredo")
    session_id = database.one("select id from whatsapp_sessions where user_id = %s", user.user_id)
    wait_for(lambda: database.one("select count(*) from events where kind = 'onmessage' and verdict <> 'received'"))

    sent = database.one("select request_id from messages where session_id = %s and direction = 'out'", session_id)
    ways = told_with(processes, sent)
    assert {("console", "message_queued"), ("worker", "send-message"), ("worker", "delivered")} <= ways
    arrived = processes.control.state()["request_ids"]
    assert ["send-message", sent] in arrived
    # Earlier tests may have had people of their own here.
    started = {request_id for route, request_id in arrived if route == "start-session"}
    assert any(("console", "start-session") in told_with(processes, one) for one in started)

    said = "\n".join(processes.log_file(name).read_text() for name in ALL_PROCESSES)
    for secret in processes.secret_values():
        assert secret not in said
    for private in (TEXT, "Resposta que", "2@", "data:image", "iVBOR"):
        assert private not in said, private


def test_it_joins_the_api_too(new_browser_user: NewBrowserUser) -> None:
    """What the API answers names the line that tells why."""
    processes = new_browser_user(path=None).installation.processes
    answer = httpx.get(
        f"{processes.webhook_url}/functions/v1/sessao-de-whatsapp", headers={"Authorization": "Bearer x"}
    )
    request_id = answer.json()["request_id"]
    wait_for(lambda: told_with(processes, request_id) == {("webhook", "api_error")})
