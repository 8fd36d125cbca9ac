"""What tests of outreach share."""

import pytest

from services.db.actor import Actor
from services.outreach import template_content, templates
from services.outreach.template_content import Template
from tests.support.databases import Database
from tests.support.process_state import forget_process_state
from tests.support.sessions import connected


@pytest.fixture
def lenient_rules(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an installation admits that leaves the tests their own rules."""
    monkeypatch.setenv("CAMPAIGN_WARMUP_DAYS", "0")
    monkeypatch.setenv("CAMPAIGN_COLD_SHARE", "1")
    forget_process_state()


@pytest.fixture
def campaigner(user: Actor, database: Database) -> Actor:
    connected(database, user)
    return user


@pytest.fixture
def offer(campaigner: Actor) -> Template:
    return templates.save(campaigner, template_content.TemplateDraft("Oferta", "Oi, {{nome}}!"))
