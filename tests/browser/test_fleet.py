"""The page "Sessões" as staff use it, against all the real processes."""

import pytest
from playwright.sync_api import expect

from services.db.actor import Role
from tests.support.browser_steps import choose_first_row, email_of, pair, search_session
from tests.support.browser_user import BrowserUser, NewBrowserUser

pytestmark = pytest.mark.browser


@pytest.fixture
def staff(new_browser_user: NewBrowserUser) -> BrowserUser:
    """An operator at the page, which is wide enough for its table."""
    user = new_browser_user(Role.OPERATOR, path=None, viewport={"width": 1300, "height": 900})
    user.go("/sessions")
    expect(user.page.get_by_label("Buscar")).to_be_visible()
    return user


def test_it_connects_for_a_user_who_then_sees_the_code_on_their_own_screen(
    new_browser_user: NewBrowserUser, staff: BrowserUser
) -> None:
    user = new_browser_user()
    search_session(staff.page, email_of(user))
    choose_first_row(staff.page)
    staff.page.get_by_role("button", name="Conectar por esta pessoa").click()
    expect(user.page.locator(".picture svg")).to_be_visible()
    expect(staff.page.get_by_text("O código aparece só na tela da própria pessoa.")).to_be_visible()
    assert staff.page.locator(".picture").count() == 0
    actions = staff.installation.database.execute("select action from audit_log where actor_id = %s", staff.user_id)
    assert actions == [("session.connect",)]


def test_it_disconnects_a_user_after_asking(new_browser_user: NewBrowserUser, staff: BrowserUser) -> None:
    user = new_browser_user()
    pair(user)
    search_session(staff.page, email_of(user))
    choose_first_row(staff.page)
    staff.page.get_by_role("button", name="Desconectar").click()
    dialog = staff.page.get_by_role("dialog")
    expect(dialog.get_by_text("A ação fica registrada em seu nome.")).to_be_visible()
    dialog.get_by_role("button", name="Desconectar").click()
    expect(user.page.get_by_text("Conecte seu WhatsApp")).to_be_visible()


def test_it_finds_nobody_and_says_what_to_do(staff: BrowserUser) -> None:
    staff.page.get_by_label("Buscar").fill("ninguém com este nome")
    staff.page.get_by_label("Buscar").press("Enter")
    expect(staff.page.get_by_text("Nenhum usuário encontrado.")).to_be_visible()


def test_it_is_closed_to_users(new_browser_user: NewBrowserUser) -> None:
    user = new_browser_user(path="/sessions")
    expect(user.page.get_by_text("Usuários: ")).to_have_count(0)
    expect(user.page.get_by_text("Buscar")).to_have_count(0)
