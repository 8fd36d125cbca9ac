"""The page "Usuários": an invitation from the admin's screen to the invited person's first sign-in."""

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, expect

from services.db.actor import Role
from tests.support.browser_contexts import open_page
from tests.support.browser_user import NewBrowserUser

pytestmark = pytest.mark.browser

PASSWORD = "uma senha bem longa"


def test_it_invites_and_the_invited_person_signs_in_once_by_the_link(
    new_browser_user: NewBrowserUser, new_context: Callable[..., BrowserContext]
) -> None:
    admin = new_browser_user(Role.ADMIN, path=None)
    page = admin.page
    admin.go("/users")
    page.get_by_text("Convidar alguém").click()
    page.get_by_label("E-mail").fill("nova@example.com")
    page.get_by_role("button", name="Criar o convite").click()
    expect(page.get_by_text("Link de uso único.")).to_be_visible()
    link = page.get_by_test_id("stCode").inner_text().strip()
    assert link.startswith(admin.installation.processes.console_url)

    invited = open_page(new_context())
    invited.goto(link)
    expect(invited.get_by_text("Crie sua senha")).to_be_visible()
    invited.get_by_label("Senha", exact=True).fill(PASSWORD)
    invited.get_by_label("Repita a senha").fill(PASSWORD + "!")
    invited.get_by_role("button", name="Salvar a senha").click()
    expect(invited.get_by_text("As duas senhas não são iguais.")).to_be_visible()
    invited.get_by_label("Repita a senha").fill(PASSWORD)
    invited.get_by_role("button", name="Salvar a senha").click()
    invited.get_by_label("E-mail").fill("nova@example.com")
    invited.get_by_label("Senha").fill(PASSWORD)
    invited.get_by_role("button", name="Entrar").click()
    expect(invited.get_by_text("Conecte seu WhatsApp")).to_be_visible()

    again = open_page(new_context())
    again.goto(link)
    expect(again.get_by_text("Este link não vale mais")).to_be_visible()
    assert link.partition("=")[2] not in admin.installation.processes.logs()


def test_it_shows_operators_and_changes_nothing(new_browser_user: NewBrowserUser) -> None:
    operator = new_browser_user(Role.OPERATOR, path="/users")
    expect(operator.page.get_by_text("Só a administração pode convidar")).to_be_visible()
    expect(operator.page.get_by_text("Convidar alguém")).to_have_count(0)
