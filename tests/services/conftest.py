"""The sandbox beside the database, for services that call it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from sandbox.server import SandboxServer, running_sandbox
from sandbox.state import Config
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.fleet import checks, commands, transitions
from tests.support.alert_receiver import AlertReceiver
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.processes import SERVER_TOKEN
from tests.support.sandbox_control import SandboxControl
from tests.support.waiting import wait_for


@pytest.fixture
def server(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[SandboxServer]:
    """A WPPConnect server that this process's settings point at; its webhooks go nowhere."""
    with running_sandbox(Config(secret=SERVER_TOKEN, clock_scale=0.02)) as made:
        monkeypatch.setenv("WPP_SERVER_TOKEN", SERVER_TOKEN)
        monkeypatch.setenv("SANDBOX_PORT", made.url.rpartition(":")[2])
        monkeypatch.setenv("PUBLIC_WEBHOOK_URL", "http://127.0.0.1:9")
        forget_process_state()
        yield made


@pytest.fixture
def control(server: SandboxServer) -> Iterator[SandboxControl]:
    made = SandboxControl(server.url)
    yield made
    made.close()


@pytest.fixture
def sender(user: Actor, server: SandboxServer, control: SandboxControl, database: Database) -> Actor:
    """A user whose session is up, on the sandbox too."""
    name = f"user_{user.user_id}"
    commands.connect(user)
    wait_for(lambda: (state := control.session(name)) and state["status"] == "QRCODE")
    control.scan(name, "5511987654000")
    wait_for(lambda: (state := control.session(name)) and state["status"] == "CONNECTED")
    with transaction(SYSTEM) as tx:
        transitions.apply_report(tx, name, "inChat", datetime.now(UTC), current=True)
    checks.run_due_checks()
    return user


@pytest.fixture
def two_servers(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[SandboxServer, SandboxServer]]:
    """Two WPPConnect servers that share a secret; the first is where new sessions go."""
    config = Config(secret=SERVER_TOKEN, clock_scale=0.02)
    with running_sandbox(config) as one, running_sandbox(config) as other:
        # Between two that have the same room the first by its address is chosen.
        first, second = sorted((one, other), key=lambda server: server.url)
        monkeypatch.setenv("WPP_SERVER_TOKEN", SERVER_TOKEN)
        monkeypatch.setenv("WPP_SERVER_URL", f"{first.url},{second.url}")
        monkeypatch.setenv("PUBLIC_WEBHOOK_URL", "http://127.0.0.1:9")
        forget_process_state()
        yield first, second


@pytest.fixture
def alert_receiver(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[AlertReceiver]:
    made = AlertReceiver()
    monkeypatch.setenv("ALERT_WEBHOOK_URL", made.address)
    forget_process_state()
    yield made
    made.server.shutdown()
    made.server.server_close()
