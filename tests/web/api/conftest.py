"""Somebody who calls the API, on the companion process's own application."""

from collections.abc import Callable, Iterator

import httpx
import pytest

from services.db.actor import Actor
from tests.support.api_calls import insert_everything
from tests.support.databases import Database


@pytest.fixture
def http(companion: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{companion}", timeout=30) as client:
        yield client


@pytest.fixture
def ana(database: Database, new_actor: Callable[..., Actor]) -> Actor:
    """Somebody with a session and something of everything that the API knows."""
    return insert_everything(database, new_actor())
