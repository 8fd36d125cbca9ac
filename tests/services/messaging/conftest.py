"""What tests of messaging share."""

import pytest

from sandbox.server import SandboxServer
from services.db.actor import Actor
from tests.support.databases import Database
from tests.support.deliveries import deliver_all, pass_hours, queue_texts
from tests.support.sandbox_control import SandboxControl


@pytest.fixture
def overdue(sender: Actor, server: SandboxServer, control: SandboxControl, database: Database) -> Actor:
    """Two messages that waited for their server for more than a day, and one that became due an hour ago."""
    server.stop()
    queue_texts(sender, "um", "dois")
    deliver_all()
    pass_hours(database, 24)
    queue_texts(sender, "nova")
    pass_hours(database, 1)
    return sender
