"""The companion process's own application, served over real HTTP."""

import threading
from collections.abc import Iterator

import pytest
import uvicorn

import webhook
from tests.conftest import Database, forget_process_state
from tests.installation import SHARED_TOKEN, free_ports, wait_for

JWT_SECRET = "the-secret-that-signs-the-users-tokens-in-tests"
ORIGIN = "https://app.example.com"


@pytest.fixture
def companion(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Its port. Settings of a test are set in the environment before."""
    monkeypatch.setenv("QR_WEBHOOK_VERIFY_TOKEN", SHARED_TOKEN)
    monkeypatch.setenv("JWT_SECRET", JWT_SECRET)
    monkeypatch.setenv("CORS_ORIGINS", ORIGIN)
    forget_process_state()
    (port,) = free_ports(1)
    server = uvicorn.Server(
        uvicorn.Config(webhook.create_app(), port=port, log_config=None, access_log=False, proxy_headers=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started)
    yield port
    server.should_exit = True
    thread.join()
