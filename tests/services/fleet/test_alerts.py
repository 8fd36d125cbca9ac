"""Alerts: posted once in a while, retried while the address is away, and never with a secret."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet import alerts, incidents
from services.fleet.incidents import Kind
from tests.conftest import Database, connected, forget_process_state


class Chat:
    """A chat tool's address: keeps what it was told, and refuses while `status` says so."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.status = 200
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if chat.status == 200:
                    chat.heard.append(body)
                self.send_response(chat.status)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hooks/a-secret-token"


@pytest.fixture
def chat(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chat]:
    made = Chat()
    monkeypatch.setenv("ALERT_WEBHOOK_URL", made.address)
    forget_process_state()
    yield made
    made.server.shutdown()
    made.server.server_close()


def zombie(database: Database, user: Actor) -> None:
    session_id = connected(database, user)
    with transaction(SYSTEM) as tx:
        incidents.open_incidents(tx, Kind.ZOMBIE, [session_id])


def test_it_posts_what_was_found_once(chat: Chat, user: Actor, database: Database) -> None:
    zombie(database, user)
    assert alerts.send_alerts() == 1
    assert alerts.send_alerts() == 0
    (heard,) = chat.heard
    assert heard["text"] == f"{incidents.DESCRIPTIONS[Kind.ZOMBIE][0]}: user_{user.user_id}"
    assert heard["findings"][0]["kind"] == "zombie"
    assert "5511999990000" not in str(heard)


def test_it_does_not_repeat_itself_within_the_cool_down(chat: Chat, user: Actor, database: Database) -> None:
    zombie(database, user)
    alerts.send_alerts()
    again = (
        "update incidents set state = 'healed', ended_at = now();"
        "insert into incidents (session_id, user_id, server_url, kind) select session_id, user_id, server_url, kind"
        " from incidents"
    )
    database.execute(again)
    assert alerts.send_alerts() == 0
    database.execute(
        "update incidents set notified_at = now() - interval '16 minutes'; delete from incidents where id = 2"
    )
    database.execute(again)
    assert alerts.send_alerts() == 1


def test_it_tries_again_while_the_address_is_away(
    chat: Chat, user: Actor, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    zombie(database, user)
    chat.status = 500
    assert alerts.send_alerts() == 0
    chat.status = 200
    assert alerts.send_alerts() == 1
    assert "a-secret-token" not in "".join(capsys.readouterr())


def test_it_says_once_more_that_a_person_is_needed(chat: Chat, user: Actor, database: Database) -> None:
    zombie(database, user)
    alerts.send_alerts()
    database.execute("update incidents set state = 'needs_person', notified_at = null")
    assert alerts.send_alerts() == 1
    assert "precisa de alguém da equipe" in chat.heard[-1]["text"]


def test_it_names_a_server_by_its_sessions_and_never_by_its_address(
    chat: Chat, user: Actor, database: Database
) -> None:
    connected(database, user)
    with transaction(SYSTEM) as tx:
        incidents.open_server_down(tx, "http://127.0.0.1:9")
    alerts.send_alerts()
    assert "servidor com 1 sessões" in chat.heard[0]["text"]
    assert "127.0.0.1" not in str(chat.heard)


def test_it_shortens_a_long_list(chat: Chat, database: Database, new_actor: Any) -> None:
    ids = [connected(database, new_actor()) for _ in range(13)]
    with transaction(SYSTEM) as tx:
        incidents.open_incidents(tx, Kind.ZOMBIE, ids)
    assert alerts.send_alerts() == 13
    assert chat.heard[0]["text"].endswith("… e mais 3")


def test_it_keeps_still_where_no_address_is_set(user: Actor, database: Database) -> None:
    zombie(database, user)
    assert alerts.send_alerts() == 0
    assert database.one("select notified_at is not null from incidents")
