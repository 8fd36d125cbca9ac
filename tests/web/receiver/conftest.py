"""A receiver, and a session whose server posts to it."""

import pytest

from services.db.actor import Actor
from services.fleet.webhook_secrets import hash_secret
from tests.support.databases import Database
from tests.support.sessions import connected
from tests.support.webhook_posts import WEBHOOK_SECRET, Receiver


@pytest.fixture
def receiver(companion: int) -> Receiver:
    return Receiver(companion)


@pytest.fixture
def session(database: Database, user: Actor) -> str:
    """A pairing session whose server posts with WEBHOOK_SECRET."""
    connected(database, user)
    database.execute(
        "update whatsapp_sessions set status = 'pareando', webhook_secret_hash = %s, pairing_started_at = now()",
        hash_secret(WEBHOOK_SECRET),
    )
    return f"user_{user.user_id}"
