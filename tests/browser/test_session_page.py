"""The fleet and one session as staff run them: what is wrong, what was done, and everything that can be done."""

import contextlib

import pytest
from playwright.sync_api import Page, TimeoutError, expect

from services.db.actor import Role, person
from services.messaging import outbox
from tests.support.browser_steps import choose_first_row, email_of, search_session
from tests.support.browser_user import BrowserUser, NewBrowserUser
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser


@pytest.fixture
def staff(new_browser_user: NewBrowserUser) -> BrowserUser:
    return new_browser_user(Role.OPERATOR, path=None, viewport={"width": 1300, "height": 1000})


def confirm(page: Page, label: str) -> None:
    page.get_by_role("button", name=label, exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name=label, exact=True).click()


def open_session(page: Page) -> None:
    """A redraw that arrives together with the click may swallow it, as it may a person's."""
    for _ in range(3):
        page.get_by_text("Abrir a sessão").click()
        with contextlib.suppress(TimeoutError):
            page.wait_for_url("**/session?user=*", timeout=5_000)
            break
    expect(page.get_by_text("Aparelho:")).to_be_visible()


def test_it_runs_one_session_from_the_list_to_its_end(new_browser_user: NewBrowserUser, staff: BrowserUser) -> None:
    user, page = new_browser_user(paired=True), staff.page
    staff.go("/sessions")
    search_session(page, email_of(user))
    choose_first_row(page)
    open_session(page)
    confirm(page, "Reiniciar")
    expect(page.get_by_text("A equipe reiniciou a sessão")).to_be_visible()
    expect(user.page.get_by_text("Conectado!")).to_be_visible()
    confirm(page, "Fechar")
    expect(page.get_by_text("A equipe fechou a sessão")).to_be_visible()
    expect(user.page.get_by_text("Conecte seu WhatsApp")).to_be_visible()
    page.get_by_role("button", name="Conectar", exact=True).click()
    expect(user.page.get_by_text("Conectado!")).to_be_visible()
    page.get_by_role("tab", name="Últimos eventos").click()
    expect(page.get_by_test_id("stDataFrame").first).to_be_visible()
    assert page.locator(".picture").count() == 0


def test_it_shows_a_dead_session_as_such_and_its_healing(new_browser_user: NewBrowserUser, staff: BrowserUser) -> None:
    user, page = new_browser_user(paired=True), staff.page
    user.installation.processes.control.kill(user.session)
    # The check of its number hangs, which makes the session suspect: WhatsApp is asked about that number again.
    outbox.queue(person(user.user_id, Role.USER), "5511977770001", "oi", "dead")
    staff.go(f"/session?user={user.user_id}")
    expect(page.get_by_text("Sessão morta:").first).to_be_visible(timeout=120_000)
    expect(page.get_by_text("Reiniciou a sessão")).to_be_visible(timeout=40_000)
    expect(page.get_by_text("Problema resolvido: Sessão morta")).to_be_visible(timeout=40_000)
    expect(user.page.get_by_text("Conectado!")).to_be_visible()


def test_it_restarts_many_in_waves_that_can_be_held(new_browser_user: NewBrowserUser, staff: BrowserUser) -> None:
    for _ in range(2):
        new_browser_user(paired=True, path=None)
    page = staff.page
    staff.go("/sessions")
    page.get_by_role("button", name="Reiniciar em ondas").click()
    page.get_by_role("dialog").get_by_role("button", name="Começar").click()
    expect(page.get_by_text("reiniciadas").or_(page.get_by_text("Último reinício em ondas")).first).to_be_visible()
    wait_for(lambda: staff.installation.database.one("select ended_at is not null from rolling_restarts"), 60)
    expect(page.get_by_text("Último reinício em ondas")).to_be_visible()
    assert staff.installation.database.one("select count(*) > 1 from rolling_restart_items where state = 'done'")


def test_it_says_so_where_nobody_is_chosen(staff: BrowserUser) -> None:
    staff.go("/session")
    expect(staff.page.get_by_text("Escolha uma sessão na lista.")).to_be_visible()
    staff.go("/session?user=00000000-0000-4000-8000-000000000000")
    expect(staff.page.get_by_text("Esta pessoa não existe mais.")).to_be_visible()
