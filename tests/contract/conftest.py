"""The stand-in over real HTTP, beside a real receiver of its webhooks."""

from collections.abc import Iterator

import pytest

from tests.support.contract_sandbox import Sandbox, sandbox_with


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with sandbox_with() as running_sandbox:
        yield running_sandbox
