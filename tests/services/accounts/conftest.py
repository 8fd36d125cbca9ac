"""What tests of accounts share."""

from uuid import UUID

import pytest

from services.accounts import provisioning
from services.db.actor import Role
from tests.support.accounts import EMAIL, PASSWORD
from tests.support.databases import Database


@pytest.fixture
def ana(database: Database) -> UUID:
    return provisioning.create_user(EMAIL, PASSWORD, Role.USER, "Ana Lima")
