"""The page "Limpeza", against all the real processes."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from services.db.actor import Role
from tests.support.browser_user import NewBrowserUser
from tests.support.installation import Installation

pytestmark = pytest.mark.browser


@pytest.fixture
def expired_rows(installation: Installation) -> Iterator[Installation]:
    """1,234 events and a few more things past their retention."""
    installation.database.execute(
        "insert into events (kind, verdict, received_at, request_id, body)"
        " select 'onack', 'handled', now() - interval '40 days', gen_random_uuid(), '' from generate_series(1, 1234)"
    )
    installation.database.execute(
        "insert into signed_out (sign_in_id, expires_at) select gen_random_uuid(), now() - interval '3 days'"
        " from generate_series(1, 5)"
    )
    yield installation
    if not installation.processes.running("worker"):
        installation.processes.start("worker")


def test_it_shows_what_would_go_asks_shows_how_far_it_is_and_remembers(
    new_browser_user: NewBrowserUser, expired_rows: Installation
) -> None:
    admin = new_browser_user(Role.ADMIN, path=None)
    page = admin.page
    admin.go("/cleanup")
    expect(page.get_by_text("Fora do prazo: 1.239")).to_be_visible()
    expired_rows.processes.stop("worker")
    page.get_by_role("button", name="Limpar agora").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Eventos já tratados: 1.234")).to_be_visible()
    expect(dialog.get_by_text("A ação fica registrada em seu nome.")).to_be_visible()
    dialog.get_by_role("button", name="Limpar").click()
    expect(page.get_by_text("Na fila")).to_be_visible()
    # As a worker would write it: the open page hears of it without a click.
    expired_rows.database.execute(
        "update cleanup_runs set started_at = now(), counts = '{\"events\": 1000}' where finished_at is null"
    )
    expect(page.get_by_text("Eventos já tratados · 1.000 de 1.239")).to_be_visible()
    expired_rows.database.execute("update cleanup_runs set counts = '{}' where finished_at is null")
    expired_rows.processes.start("worker")
    expect(page.get_by_text("Nada para limpar.")).to_be_visible()
    counts, actor = expired_rows.database.execute("select counts, actor_id from cleanup_runs where error is null")[-1]
    assert (counts, actor) == ({"events": 1234, "signed_out": 5}, admin.user_id)
    assert expired_rows.database.one("select count(*) from events") == 0
    expect(page.get_by_text("Nenhuma ainda.")).to_have_count(0)
