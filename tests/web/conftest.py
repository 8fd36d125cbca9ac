"""The companion process's own application, served over real HTTP."""

import threading
from collections.abc import Iterator

import pytest

import webhook
from services import settings
from tests.conftest import Database, forget_process_state
from tests.support.installation import SHARED_TOKEN, free_ports, wait_for
from web.receiver.connections import GuardedServer

JWT_SECRET = "the-secret-that-signs-the-users-tokens-in-tests"
ORIGIN = "https://app.example.com"
# Small enough for a test to reach; each on a fixed window that no test outlives.
SHARED_LIMITS = {
    "RATE_LIMIT_API": "10/minute",
    "RATE_LIMIT_SEND": "2/minute",
    "RATE_LIMIT_REFUSED": "5/minute",
    "HTTP_READ_SECONDS": "1",
}


@pytest.fixture
def companion(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Its port. Settings of a test are set in the environment before."""
    monkeypatch.setenv("QR_WEBHOOK_VERIFY_TOKEN", SHARED_TOKEN)
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)
    monkeypatch.setenv("CORS_ORIGINS", ORIGIN)
    forget_process_state()
    (port,) = free_ports(1)
    server = GuardedServer(webhook.server_config("127.0.0.1", port), settings.get().http_read_seconds)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    yield port
    server.should_exit = True
    thread.join()
