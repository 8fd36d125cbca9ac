"""The database goes away under an open page: it says so, and what was being written is there when it is back."""

import time

import pytest
from playwright.sync_api import expect

from services.db.embedded import EmbeddedPostgres
from tests.support.browser_user import NewBrowserUser
from tests.support.databases import unreachable_database
from tests.support.waiting import wait_for
from ui.shell import errors

pytestmark = pytest.mark.browser

# How often the page asks at least for the database that is away: once would be a short outage.
ASKS = 3
TEXT = "Uma mensagem longa, escrita com cuidado."


def test_it_keeps_what_is_being_written(cluster: EmbeddedPostgres, new_browser_user: NewBrowserUser) -> None:
    person = new_browser_user(paired=True, path="/send")
    page = person.page
    page.get_by_label("Para (WhatsApp)").fill("11987654321")
    page.get_by_label("Mensagem", exact=True).fill(TEXT)
    with unreachable_database(cluster, person.installation.database.one("select current_database()")):
        page.get_by_role("button", name="Enviar", exact=True).click()
        expect(page.get_by_text("O banco de dados não respondeu.").first).to_be_visible()
        expect(page.get_by_text("O banco de dados não respondeu.").first).to_be_in_viewport()
        asked_often = time.monotonic() + ASKS * errors.RETRY_SECONDS
        wait_for(lambda: time.monotonic() > asked_often)
        expect(page.get_by_label("Mensagem", exact=True)).to_have_value(TEXT)
    expect(page.get_by_text("O banco de dados não respondeu.")).to_have_count(0)
    # The click fell into the outage and is done after it, once.
    wait_for(lambda: [one["body"] for one in person.installation.processes.control.sent(person.session)] == [TEXT], 30)
    expect(page.get_by_label("Mensagem", exact=True)).to_have_value("")
