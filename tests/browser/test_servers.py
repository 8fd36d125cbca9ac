"""The page "Servidores", against all the real processes."""

import pytest
from playwright.sync_api import expect

from services.db.actor import Role
from tests.support.browser_user import NewBrowserUser

pytestmark = pytest.mark.browser


def test_it_looks_drains_after_asking_and_uses_again(new_browser_user: NewBrowserUser) -> None:
    admin = new_browser_user(Role.ADMIN, path=None)
    page, database = admin.page, admin.installation.database
    admin.go("/servers")
    page.get_by_role("button", name="Olhar agora").click()
    expect(page.get_by_text("/unhealthy passa até o servidor.")).to_be_visible()
    assert admin.installation.processes.control.state() is not None, "the scan has killed nobody"
    page.get_by_role("button", name="Esvaziar").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Nenhuma conexão nova vai mais para este servidor.")).to_be_visible()
    assert database.one("select drained_at from wpp_servers") is None
    dialog.get_by_role("button", name="Esvaziar").click()
    draining = page.locator(".stMarkdownBadge", has_text="Esvaziando")
    expect(draining).to_be_visible()
    expect(page.get_by_text("Nenhum lugar livre")).to_be_visible()
    user = new_browser_user()
    user.page.get_by_role("button", name="Conectar", exact=True).click()
    expect(user.page.get_by_text("Nenhum servidor do WhatsApp tem lugar")).to_be_visible()
    page.get_by_role("button", name="Reativar").click()
    expect(draining).to_have_count(0)
    assert admin.installation.processes.sandbox_url not in page.content()


def test_the_worker_looks_by_itself(new_browser_user: NewBrowserUser) -> None:
    operator = new_browser_user(Role.OPERATOR, path="/servers")
    expect(operator.page.get_by_text("Respondendo").nth(1)).to_be_visible(timeout=30_000)
    expect(operator.page.get_by_role("button", name="Esvaziar")).to_have_count(0)
