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


@pytest.fixture
def two_servers(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[SandboxServer, SandboxServer]]:
    """Two WPPConnect servers that share a secret; the first is where new sessions go."""
    config = Config(secret=SECRET, clock_scale=0.02)
    with running(config) as one, running(config) as other:
        # Between two that have the same room the first by its address is chosen.
        first, second = sorted((one, other), key=lambda server: server.url)
        monkeypatch.setenv("WPP_SERVER_TOKEN", SECRET)
        monkeypatch.setenv("WPP_SERVER_URL", f"{first.url},{second.url}")
        monkeypatch.setenv("PUBLIC_WEBHOOK_URL", "http://127.0.0.1:9")
        forget_process_state()
        yield first, second
