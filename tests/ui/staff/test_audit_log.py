"""The audit log's words for what was done."""

import re

from tests.support.paths import ROOT
from ui.staff import audit_log

ROOMS = "audit|cleanup|endpoint|event|fleet|glass|isolation|key|sending|server|session|template|user"
RECORDED = re.compile(rf'"((?:{ROOMS})\.[a-z_]+)"')
# What is no action but an event for the users' own systems.
OTHERS = {"session.status"}


def test_it_has_a_word_for_every_action_that_is_recorded() -> None:
    named = {code for path in (ROOT / "services").rglob("*.py") for code in RECORDED.findall(path.read_text())}
    assert len(named) > 30
    assert named - OTHERS <= set(audit_log.ACTION_WORDS)


def test_a_code_that_it_does_not_know_stands_for_itself() -> None:
    assert audit_log.code_word("glass.break") == "Quebrou o vidro"
    assert audit_log.code_word("of.tomorrow") == "of.tomorrow"
