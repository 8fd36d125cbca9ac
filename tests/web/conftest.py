"""The companion process's own application, served over real HTTP."""

import threading
from collections.abc import Iterator

import pytest

import webhook
from services import settings
from tests.support.credentials import JWT_SECRET
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.processes import SHARED_TOKEN, free_ports
from tests.support.waiting import wait_for
from tests.support.web_settings import ORIGIN
from web.receiver.connections import GuardedServer


@pytest.fixture
def companion(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Its port. Settings of a test are set in the environment before."""
    monkeypatch.setenv("QR_WEBHOOK_VERIFY_TOKEN", SHARED_TOKEN)
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)
    monkeypatch.setenv("CORS_ORIGINS", ORIGIN)
    forget_process_state()
    (port,) = free_ports(1)
    server = GuardedServer(webhook.server_config("127.0.0.1", port), settings.get().http.read_seconds)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    yield port
    server.should_exit = True
    thread.join()
