"""The database goes away under an open page: it says so, and what was being written is there when it is back."""

import contextlib
from collections.abc import Callable, Iterator

import psycopg
import pytest
from playwright.sync_api import expect

from services.db.embedded import EmbeddedPostgres
from tests.browser.conftest import Visitor
from tests.databases import cut_off
from tests.houses import House
from tests.installation import wait_for

pytestmark = pytest.mark.browser

TEXT = "Uma mensagem longa, escrita com cuidado."
Visit = Callable[..., Visitor]


@contextlib.contextmanager
def outage(cluster: EmbeddedPostgres, house: House) -> Iterator[None]:
    """Nobody is let into the house's database, and whoever was in it is out."""
    name = house.database.one("select current_database()")
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as elsewhere:
        elsewhere.execute(f"alter database {name} allow_connections false")
        try:
            cut_off(elsewhere, name)
            yield
        finally:
            elsewhere.execute(f"alter database {name} allow_connections true")


def test_it_keeps_what_is_being_written(cluster: EmbeddedPostgres, visit: Visit) -> None:
    person = visit(paired=True, path="/send")
    page = person.page
    page.get_by_label("Para (WhatsApp)").fill("11987654321")
    page.get_by_label("Mensagem", exact=True).fill(TEXT)
    with outage(cluster, person.house):
        page.get_by_role("button", name="Enviar", exact=True).click()
        expect(page.get_by_text("O banco de dados não respondeu.").first).to_be_visible()
        expect(page.get_by_text("O banco de dados não respondeu.").first).to_be_in_viewport()
        expect(page.get_by_label("Mensagem", exact=True)).to_have_value(TEXT)
    expect(page.get_by_text("O banco de dados não respondeu.")).to_have_count(0)
    # The click fell into the outage and is done after it, once.
    wait_for(lambda: [one["body"] for one in person.house.processes.control.sent(person.session)] == [TEXT], 30)
    expect(page.get_by_label("Mensagem", exact=True)).to_have_value("")
