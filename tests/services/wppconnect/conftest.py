"""Fixtures of this room: a fake server and a client that knows it."""

from collections.abc import Iterator

import pytest

from services.wppconnect.client import WppClient
from tests.support.wpp_fakes import SECRET, FakeServer, fake_server


@pytest.fixture(scope="module")
def running() -> Iterator[FakeServer]:
    with fake_server() as fake:
        yield fake


@pytest.fixture
def fake(running: FakeServer) -> FakeServer:
    running.seen.clear()
    return running


@pytest.fixture
def wpp(fake: FakeServer) -> Iterator[WppClient]:
    with WppClient({fake.url: SECRET}) as client:
        yield client
