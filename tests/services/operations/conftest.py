"""What tests of the operations share."""

from collections.abc import Iterator

import pytest

from services.operations.retention_worker import RetentionWorker
from tests.support.databases import Database


@pytest.fixture
def cleaner(database: Database) -> Iterator[RetentionWorker]:
    made = RetentionWorker()
    yield made
    made.close()
