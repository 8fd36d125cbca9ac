"""The sandbox beside the database, for services that call it."""

from collections.abc import Iterator

import pytest

from sandbox.server import SandboxServer, running
from sandbox.state import Config
from tests.conftest import Database, forget_process_state
from tests.installation import Control

SECRET = "the-secret-key-of-the-sandbox"


@pytest.fixture
def server(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxServer]:
    """A WPPConnect server that this process's settings point at; its webhooks go nowhere."""
    with running(Config(secret=SECRET, clock_scale=0.02)) as made:
        monkeypatch.setenv("WPP_SERVER_TOKEN", SECRET)
        monkeypatch.setenv("SANDBOX_PORT", made.url.rpartition(":")[2])
        monkeypatch.setenv("PUBLIC_WEBHOOK_URL", "http://127.0.0.1:9")
        forget_process_state()
        yield made


@pytest.fixture
def control(server: SandboxServer) -> Iterator[Control]:
    made = Control(server.url)
    yield made
    made.close()
