"""The URL to which a session's server posts, and the secret in it."""

import hashlib
from urllib.parse import urlsplit, urlunsplit

from sqlalchemy import (
    Connection,
    func,
    update,
)

from services import settings
from services.db.tables.fleet import sessions

WEBHOOK_PATH = "/functions/v1/whatsapp-qr-webhook"


def webhook_url(secret: str, name: str) -> str:
    """The URL that a session's server posts to. User info is the only credential the stock server can send."""
    parts = urlsplit(settings.get().http.public_webhook_url)
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(
        (parts.scheme, f"wpp:{secret}@{address}", f"{parts.path.rstrip('/')}{WEBHOOK_PATH}/{name}", "", "")
    )


def hash_secret(secret: str) -> bytes:
    """What is stored of a webhook secret: it has 192 random bits, so a plain SHA-256 is enough."""
    return hashlib.sha256(secret.encode()).digest()


def mark_secret_used(tx: Connection, name: str) -> None:
    """The server has used the newest secret: from now on the earlier one is worth nothing after its grace."""
    tx.execute(
        update(sessions)
        .where(sessions.c.session_id == name, sessions.c.webhook_secret_used_at.is_(None))
        .values(webhook_secret_used_at=func.now())
    )
