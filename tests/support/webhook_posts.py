"""Webhooks posted as a WPPConnect server posts them, and what the receiver kept."""

import json
from typing import Any

import httpx

from tests.support.databases import Database

WEBHOOK_SECRET = "the-secret-of-this-session"
WEBHOOK_PATH = "/functions/v1/whatsapp-qr-webhook"


class Receiver:
    """The receiver's own application in a thread, and how a server talks to it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def post(
        self,
        body: Any,
        session: str | None = None,
        secret: str | None = WEBHOOK_SECRET,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """POST as a server does: JSON, and the URL's user info as Basic authentication."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        auth = ("wpp", secret) if secret is not None else None
        path = f"{WEBHOOK_PATH}/{session}" if session else WEBHOOK_PATH
        return httpx.post(self.url + path, content=content, auth=auth, headers=headers or {}, timeout=60)


def make_message(number: int = 0, **more: Any) -> dict[str, Any]:
    return {"event": "onmessage", "id": f"false_5511999990000@c.us_{number}", "body": "Olá", "type": "chat", **more}


def list_stored(database: Database) -> list[tuple[Any, ...]]:
    return database.execute("select session, kind, verdict from events order by id")


def count_refusals(database: Database) -> int:
    return int(database.one("select coalesce(sum((detail ->> 'count')::int), 0) from security_events"))
