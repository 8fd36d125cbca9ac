"""What tests of the fleet share."""

import contextlib
from collections.abc import Iterator

import pytest

from sandbox.server import SandboxServer, running_sandbox
from sandbox.state import Config
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.processes import SERVER_TOKEN
from tests.support.servers import SERVER_SECRETS, ServerPair, configure_servers


@pytest.fixture
def server_pair(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerPair]:
    """Two configured servers, each with its own secret."""
    with contextlib.ExitStack() as stack:
        first, second = (
            stack.enter_context(running_sandbox(Config(secret=secret, clock_scale=0.02, hang=10.0)))
            for secret in SERVER_SECRETS
        )
        configure_servers(monkeypatch, (first.url, second.url), SERVER_SECRETS)
        yield first, second


@pytest.fixture
def slow_server(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxServer]:
    """A server that announces a session one second before it says CONNECTED."""
    config = Config(secret=SERVER_TOKEN, clock_scale=0.02, settle_delay=50.0)
    with running_sandbox(config) as made:
        monkeypatch.setenv("WPP_SERVER_TOKEN", SERVER_TOKEN)
        monkeypatch.setenv("SANDBOX_PORT", made.url.rpartition(":")[2])
        monkeypatch.setenv("PUBLIC_WEBHOOK_URL", "http://127.0.0.1:9")
        forget_process_state()
        yield made
