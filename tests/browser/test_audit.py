"""Auditoria, Isolamento and the broken glass as staff use them, against all the real processes."""

import pytest
from playwright.sync_api import expect

from services.db.actor import Role
from tests.support.browser_user import NewBrowserUser

pytestmark = pytest.mark.browser

WIDE = {"width": 1300, "height": 1000}


def test_it_shows_a_code_only_with_a_reason_and_tells_its_owner(new_browser_user: NewBrowserUser) -> None:
    owner, staff = new_browser_user(), new_browser_user(Role.OPERATOR, path=None, viewport=WIDE)
    owner.page.get_by_role("button", name="Conectar", exact=True).click()
    expect(owner.page.locator(".picture svg")).to_be_visible()
    page = staff.page
    staff.go(f"/session?user={owner.user_id}")
    page.get_by_role("button", name="Ver o código").click()
    assert page.locator(".picture").count() == 0
    page.get_by_label("Motivo").fill("curto")
    page.get_by_role("button", name="Quebrar o vidro").click()
    expect(page.get_by_text("O motivo precisa ter pelo menos 10 caracteres.")).to_be_visible()
    page.get_by_label("Motivo").fill("Chamado 4711: a pessoa pediu ajuda.")
    page.get_by_role("button", name="Quebrar o vidro").click()
    expect(page.locator(".picture").first).to_be_visible()
    expect(owner.page.get_by_text("Chamado 4711: a pessoa pediu ajuda.")).to_be_visible()
    page.get_by_role("button", name="Encerrar o acesso").click()
    expect(page.locator(".picture")).to_have_count(0)
    staff.go("/audit")
    expect(page.get_by_text("registros encadeados.")).to_be_visible()
    page.get_by_role("button", name="Conferir agora").click()
    expect(page.get_by_text("Cada registro está como foi escrito.")).to_be_visible()
    actions = staff.installation.database.execute(
        "select action from audit_log where actor_id = %s order by seq", staff.user_id
    )
    assert actions == [("glass.break",), ("glass.mend",), ("audit.verify",)]


def test_it_notes_a_refused_page_exports_it_and_shows_an_edit_by_the_owner_of_the_database(
    new_browser_user: NewBrowserUser,
) -> None:
    user, staff = new_browser_user(path=None), new_browser_user(Role.OPERATOR, path=None, viewport=WIDE)
    database = staff.installation.database
    database.execute(
        "insert into audit_log (actor_role, action) values ('owner', 'test.first'), ('owner', 'test.second')"
    )
    user.go("/audit")
    expect(user.page.get_by_text("registros encadeados.")).to_have_count(0)
    page = staff.page
    staff.go("/audit")
    page.get_by_role("tab", name="Segurança").click()
    page.get_by_role("button", name="Preparar exportação").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Baixar").click()
    assert "password" not in download.value.path().read_text(encoding="utf-8-sig")
    database.execute(
        "alter table audit_log disable trigger append_only;"
        "update audit_log set action = 'test.edited' where action = 'test.first';"
        "alter table audit_log enable trigger append_only"
    )
    page.get_by_role("button", name="Conferir agora").click()
    expect(page.get_by_text("não está como foi escrito.")).to_be_visible()


def test_it_proves_the_isolation_before_ones_eyes(new_browser_user: NewBrowserUser) -> None:
    staff = new_browser_user(Role.OPERATOR, path="/isolation", viewport=WIDE)
    staff.page.get_by_role("button", name="Provar agora").click()
    expect(staff.page.get_by_text("Nenhum vazamento:")).to_be_visible(timeout=90_000)
