"""The page "Sessões" as staff use it, against all the real processes."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from services.db.actor import Role
from tests.browser.conftest import Visitor
from tests.browser.test_pairing import connect

pytestmark = pytest.mark.browser

Visit = Callable[..., Visitor]

# Where the check box of the table's first row is, in pixels from its corner: the table is drawn on a canvas.
FIRST_ROW = {"x": 18, "y": 52}


def search(page: Page, text: str) -> None:
    page.get_by_label("Buscar").fill(text)
    page.get_by_label("Buscar").press("Enter")
    expect(page.get_by_text("Usuários: 1")).to_be_visible()


def choose_first_row(page: Page) -> None:
    page.get_by_test_id("data-grid-canvas").click(position=FIRST_ROW, force=True)  # type: ignore[arg-type]


@pytest.fixture
def staff(visit: Visit) -> Visitor:
    """An operator at the page, which is wide enough for its table."""
    visitor = visit(Role.OPERATOR, path=None, viewport={"width": 1300, "height": 900})
    visitor.go("/sessions")
    expect(visitor.page.get_by_label("Buscar")).to_be_visible()
    return visitor


def email_of(visitor: Visitor) -> str:
    return str(visitor.house.database.one("select email from auth.users where id = %s", visitor.user_id))


def test_it_connects_for_a_user_who_then_sees_the_code_on_their_own_screen(visit: Visit, staff: Visitor) -> None:
    user = visit()
    search(staff.page, email_of(user))
    choose_first_row(staff.page)
    staff.page.get_by_role("button", name="Conectar por esta pessoa").click()
    expect(user.page.locator(".picture svg")).to_be_visible()
    expect(staff.page.get_by_text("O código aparece só na tela da própria pessoa.")).to_be_visible()
    assert staff.page.locator(".picture").count() == 0
    actions = staff.house.database.execute("select action from audit_log where actor_id = %s", staff.user_id)
    assert actions == [("session.connect",)]


def test_it_disconnects_a_user_after_asking(visit: Visit, staff: Visitor) -> None:
    user = visit()
    connect(user)
    search(staff.page, email_of(user))
    choose_first_row(staff.page)
    staff.page.get_by_role("button", name="Desconectar").click()
    dialog = staff.page.get_by_role("dialog")
    expect(dialog.get_by_text("A ação fica registrada em seu nome.")).to_be_visible()
    dialog.get_by_role("button", name="Desconectar").click()
    expect(user.page.get_by_text("Conecte seu WhatsApp")).to_be_visible()


def test_it_finds_nobody_and_says_what_to_do(staff: Visitor) -> None:
    staff.page.get_by_label("Buscar").fill("ninguém com este nome")
    staff.page.get_by_label("Buscar").press("Enter")
    expect(staff.page.get_by_text("Nenhum usuário encontrado.")).to_be_visible()


def test_it_is_closed_to_users(visit: Visit) -> None:
    user = visit(path="/sessions")
    expect(user.page.get_by_text("Usuários: ")).to_have_count(0)
    expect(user.page.get_by_text("Buscar")).to_have_count(0)
